"""The stocks of words that generated knowledge sets are composed from, all picked by hand.

Every part of a symptom has a rewording with other words, so that a symptom can be told in a second way. The order of
the entries is part of what a seed means: adding one changes the generated sets, and so their version.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a symptom and the same thing in other words."""

    text: str
    reworded: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of a value.

    Attributes:
        text: the unit as values state it; one word, so that no value is contained in another.
        aliases: other ways to write it.
        most: the largest number that is believable with it, or none.
    """

    text: str
    aliases: tuple[str, ...] = ()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """Last words of setting names, with the units that such a setting is measured in."""

    attributes: tuple[str, ...]
    units: tuple[Unit, ...]


def _lines(block: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in block.strip().splitlines())


def _parts(block: str) -> tuple[Part, ...]:
    return tuple(Part(*(side.strip() for side in line.split("|"))) for line in _lines(block))


SYMPTOM_SUBJECTS = _parts("""
    exported invoices | bills saved to disk
    weekly rosters | staff plans for seven days
    booking confirmations | replies to reservations
    travel claims | requests for trip money
    stock lists | warehouse inventories
    purchase orders | buying requests
    delivery slips | papers that travel with parcels
    payroll statements | salary sheets
    meeting minutes | notes from conferences
    sales dashboards | screens full of revenue figures
    customer profiles | client records
    maintenance tickets | repair requests
    audit reports | write-ups of the inspectors
    training certificates | diplomas from courses
    rental contracts | lease agreements
    insurance quotes | offers for cover
    lab results | findings from test tubes
    shift calendars | overviews of who works when
    press releases | announcements to newspapers
    price catalogues | brochures with costs
    visitor badges | passes for callers at reception
    loan applications | pleas for credit
    newsletter drafts | unsent bulletins
    event tickets | admission slips
    product manuals | handbooks for owners
    expense receipts | proofs of spending
    return labels | stickers for sending goods back
    budget forecasts | spending outlooks
    safety checklists | sheets for avoiding accidents
    survey forms | questionnaires
    patient files | medical folders
    vehicle logs | journals of the cars
    tender documents | papers for public bids
    support transcripts | written chats with the hotline
    recipe cards | cooking instructions
    exam papers | tests for pupils
    donor letters | mailings to givers
    floor plans | drawings of the building
    warranty cards | guarantee slips
    gift vouchers | coupons given as presents
    job adverts | vacancy notices
    seating charts | maps of who sits where
    parking permits | authorisations for cars
    cargo manifests | inventories of freight
    subscription renewals | extensions of memberships
    incident summaries | accounts of mishaps
    credit notes | refund papers
    scanned treaties | agreements read in from paper
    reminder messages | nudges that go out by mail
    timetable posters | wall sheets with departures
    member directories | books of who belongs
""")

# The place of the object is marked because some rewordings close around it.
SYMPTOM_VERBS = _parts("""
    lose {} | come without {}
    repeat {} | bring {} more than once
    hide {} | refuse to display {}
    garble {} | turn {} into gibberish
    truncate {} | cut {} short
    misplace {} | put {} in a wrong spot
    overwrite {} | store something else over {}
    blank out {} | leave {} empty
    magnify {} | blow {} up to a huge size
    shrink {} | make {} far too small
    swap {} with a neighbour's | exchange {} across owners
    freeze {} | stop updating {}
    mistranslate {} | give {} in some foreign idiom
    reset {} | fall back to the default for {}
    leak {} | reveal {} to strangers
    delay {} | deliver {} much too late
    split {} | break {} apart
    highlight {} | paint {} in a loud tint
    grey out {} | make {} pale and impossible to click
    lock {} | forbid anyone to change {}
    unlock {} | let anybody edit {}
    reject {} | decline {} as invalid
    flash {} | make {} blink
    indent {} | push {} to the right
    rotate {} | tilt {} sideways
    underline {} | draw a stroke beneath {}
    strike through {} | cross {} out
    discard {} | throw {} away
    encrypt {} | make {} unreadable without a key
    misspell {} | write {} with wrong letters
    cover {} | lay something on top of {}
    relabel {} | give {} a different caption
    mirror {} | show {} the wrong way round
    capitalise {} | put {} in big letters
    stretch {} | pull {} wider than the page
    reload {} | fetch {} again and again
    forget {} | keep no memory of {}
    mistake {} for a draft | treat {} as unfinished work
    archive {} | move {} to long-term storage
    attach {} to the wrong owner | hand {} to somebody unrelated
    demand {} | ask for {} over and over
    restore {} from an old copy | bring back a long gone state of {}
    ignore {} | pay no attention to {}
    scatter {} | strew {} over several sheets
    pad {} with blanks | fill {} up with spaces
""")

SYMPTOM_OBJECTS = _parts("""
    their closing total | the sum at the bottom
    their reference number | the identifier that people quote
    their delivery address | the place where goods should go
    their signature block | the area for signing
    their company logo | the emblem of the firm
    their due date | the deadline
    their customer name | the buyer's identity
    their tax line | the row about duties
    their page numbers | the figures that count the sheets
    their footnotes | the small remarks below
    their column headings | the captions over every field
    their attachments | the enclosures
    their barcode | the striped symbol for scanners
    their approval stamp | the boss's okay
    their opening paragraph | the introduction
    their currency symbol | the money sign
    their contact details | the phone and mail particulars
    their discount row | the rebate
    their time zone | the regional hour
    their summary table | the overview grid
    their author field | the entry for who wrote it
    their photographs | the pictures
    their comment threads | the discussions in the margin
    their revision history | the trail of former edits
    their keyword tags | the search terms
    their priority flag | the urgency marker
    their project code | the shorthand of the undertaking
    their bank details | the account particulars
    their cover sheet | the front page
    their unit prices | the cost of each piece
    their legal notice | the lawyers' small print
    their mileage entries | the distances driven
    their access rights | the permissions
    their greeting formula | the words of welcome
    their progress bar | the strip telling how far things are
    their sort order | the sequence of rows
    their hyperlinks | the clickable addresses
    their colour legend | the key to the shades
    their shipping weight | the kilograms to be carried
    their expiry date | the end of validity
    their serial numbers | the manufacturer's digits
    their department names | the labels of the teams
    their chart axes | the scales of the diagrams
""")

SYMPTOM_CONDITIONS = _parts("""
    after a partial refund | once some money has gone back
    during the nightly backup | while data is copied overnight
    on the last day of a month | just before a new calendar leaf begins
    when a colleague edits them | as soon as some co-worker changes anything
    after a browser restart | once the web window has been reopened
    when the network drops | if the connection breaks
    on tablets held upright | with a handheld in portrait position
    after a password change | once the sign-in secret is new
    when branches are merged | upon the joining of offices
    during a public holiday | while everyone has time off
    after an upgrade | with a fresh release installed
    when dark mode is on | with black screens chosen
    on very wide monitors | if the display is huge
    after a long lunch break | following an hour without clicks
    when a filter is active | as long as some selection narrows the view
    after the clocks change | once summertime begins or ends
    while an import is running | as foreign data streams in
    when an account is renamed | if some login gets another label
    after a failed login | following a mistyped entry code
    when the printer is offline | if no paper output is possible
    for accounts with umlauts | where logins hold dotted vowels
    in shared folders | inside places that several teams use
    after a rollback | once some alteration has been undone
    when copied from a template | with some model sheet as their base
    during video calls | while people talk on camera
    in the mobile app | on phones
    after a warehouse move | once goods have changed buildings
    when a manager is on leave | as long as the boss is absent
    for entries made at midnight | if typed in as the day turns
    when a search is cancelled | if someone aborts looking for things
    after a language switch | once another tongue is picked
    in archived workspaces | inside areas that were closed
    when a quota is reached | as soon as an allowance is used up
    after a bulk delete | once many items were erased together
    in the guest portal | on the pages for outsiders
    when caps lock is on | with the capitals key pressed
    after a session timeout | once idling has ended the visit
    when an address book syncs | while contacts are being matched
    on slow satellite links | if the line runs via space
    when a form is resubmitted | if the same sheet goes in again
    during a fire drill | while the alarm is rehearsed
    after a power cut | once the electricity was gone for some time
""")

CAUSE_MODIFIERS = tuple(
    "tariff ledger session routing layout quota mirror token archive locale spool audit payload snapshot beacon "
    "checksum tenant digest callback glyph manifest replica shard webhook cluster gateway metadata throttle envelope "
    "partition delta heartbeat fragment calendar ingress export retention telemetry failover credential".split()
)

CAUSE_NOUNS = tuple(
    "cursor index buffer cache queue handle parser scheduler lease pointer counter watcher register journal mapper "
    "resolver dispatcher mutex pool iterator listener encoder decoder router sampler broker collector filter "
    "allocator tracker validator bitmap stack clock adapter poller linker probe sorter monitor".split()
)

CAUSE_FAILURES = _lines("""
    is rewound
    keeps a stale handle
    skips its final entry
    is flushed out of order
    drops its last slice
    outlives its parent
    is shared between processes
    wraps around silently
    is rebuilt from an empty page
    reads past its boundary
    holds its lock too long
    is closed before it drains
    compares names by length
    rounds every offset down
    loses its owner
    is seeded from a constant
    sorts by insertion time
    trusts an expired stamp
    retries without a pause
    is initialised twice
    swallows the first error
    falls behind its source
    hands out a used slot
    is pinned to a dead worker
    truncates long identifiers
    counts deleted entries
    expects ascending keys
    is read before it is filled
    merges unrelated rows
    sends its acknowledgement early
    treats blanks as equal
    is evicted under load
    misreads the byte order
    clears a neighbouring range
    starts from the wrong epoch
    waits on itself
    ignores the upper half of its range
    is copied by reference
    escapes the same text again
    overruns its budget
    forgets pending writes
""")

CAUSE_TRIGGERS = _lines("""
    after a partial flush
    whenever a worker is recycled
    while the standby catches up
    as soon as the heap is compacted
    when a batch ends on a boundary
    if the upstream answers late
    during a rolling restart
    after the leader steps down
    whenever a lease is renewed early
    while the schema is being migrated
    when a retry overtakes the original call
    if a header arrives folded
    during the warm-up of a node
    after a checkpoint is aborted
    whenever the journal is rotated
    while a second writer is attached
    when the pool is exhausted
    if the clock steps backwards
    during garbage collection
    after a plugin is reloaded
    whenever a socket is reused
    while the bloom filter is refreshed
    when an optional field is absent
    if a transaction spans shards
    during a configuration reload
    after the disk cache is trimmed
    whenever a message is requeued
    while the index is being defragmented
    when compression is negotiated late
    if the payload is chunked
    during a lost heartbeat
    after a soft delete
    whenever a thread is preempted
    while the certificate is rotated
    when the locale changes in flight
    if a callback throws
    during parallel validation
    after a failed handshake
    whenever the quorum shrinks
    while statistics are recomputed
    when a stream is resumed
""")

SETTING_SECTIONS = tuple(
    "affinity anchor arbiter atlas barrier canvas carrier cipher courier docket drawer easel fence folio funnel girder "
    "hopper identity jetty kernel lantern lattice marshal mosaic notary outbox palette pantry pilot porter quarry "
    "ribbon satchel sentry sluice tally trellis turnstile valet vestibule warden".split()
)

SETTING_SUBJECTS = tuple(
    "ack append bind block branch burst carry claim commit crawl decay drain echo expand fetch flush fold gather grant "
    "hash hold idle join label lookup merge orphan park peer prune purge query rank replay scan seal slice spill sweep "
    "trace vote wake".split()
)

QUANTITIES = (
    Quantity(
        tuple("ttl timeout delay interval grace cooldown pause backoff".split()),
        (
            Unit("milliseconds", ("ms", "msec")),
            Unit("seconds", ("s", "sec"), most=4000),
            Unit("minutes", ("min",), most=1500),
            Unit("hours", ("h",), most=400),
        ),
    ),
    Quantity(
        tuple("limit batch quota depth window backlog reserve".split()),
        (Unit("entries"), Unit("records"), Unit("rows"), Unit("messages"), Unit("items"), Unit("jobs")),
    ),
    Quantity(
        tuple("width buffer chunk ceiling footprint headroom".split()),
        (
            Unit("bytes", ("B",)),
            Unit("kilobytes", ("kB",)),
            Unit("megabytes", ("MB",), most=6000),
        ),
    ),
    Quantity(tuple("ratio threshold share margin".split()), (Unit("percent", ("per cent",), most=99),)),
)

FILE_STEMS = tuple(
    "alcove bastion bellows cabinet chimney compass conduit corridor crossing derrick foundry galley granary hangar "
    "keystone landing locker manifold mezzanine orchard parapet pavilion pergola pulley rampart rigging scaffold "
    "scullery shutter silo spindle stairwell terrace threshold towpath treadle viaduct vineyard windlass".split()
)
FILE_ENDINGS = ("yml", "toml", "ini", "conf", "json")

PRODUCT_HEADS = tuple(
    "Abru Belm Brim Calv Cond Dorv Dral Elsk Enz Fenk Flor Gald Grov Hesk Hult Ilm Jask Jorv Kelm Krav Lusk Lorv Mirz "
    "Morv Nolm Nerv Olst Orvi Pelk Prun Quor Rask Ruxo Sarv Sibb Tark Tavo Ulmo Vant Veld Wisk Xelo Yolm Zarn".split()
)
PRODUCT_TAILS = tuple(
    "Desk Grid Loom Dock Vault Pilot Forge Lane Nest Relay Harbor Tally Board Quill Mint Scope Bridge Crate Spark "
    "Field Gate Hub Jet Kit Lens Mesh Node Orbit Yard Stack Union Works".split()
)
PRODUCT_TASKS = _lines("""
    The document service
    The records platform
    The filing service
    The back-office suite
    The paperwork service
    The forms platform
    The correspondence service
    The business archive
    The office portal
    The publishing service
""")
RESERVED_PREFIXES = ("CVE", "EN", "IEC", "ISO", "KB", "MS", "RFC")
"""Prefixes of real codes, which would count as spillover where a model rightly names one."""
