// The table of items. Texts of a model reach the page as text nodes only, never as markup.
const content = JSON.parse(document.getElementById("items-data").textContent);
const { columns, texts, rows } = content;
const place = Object.fromEntries(columns.map((name, number) => [name, number]));
const sides = { before: columns.length, after: columns.length + 3 };
const text = (row, name) => texts[row[place[name]]];

// What is folded is printed, too, and folded again afterwards.
const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("details:not([open])"));
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded.splice(0)) one.open = false;
});

function element(tag, content, className) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(content);
  return made;
}

// The library reads what it searches and sorts as HTML, so that is escaped; and it searches within one line.
const LINE_ENDS = /[\r\n\v\f\u0085\u2028\u2029]/g;
const oneLine = (plain) => plain.replace(LINE_ENDS, " ");
const escaped = (plain) => oneLine(plain).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function marked(output, lengths, tag) {
  const cell = document.createDocumentFragment();
  let start = 0;
  lengths.forEach((length, number) => {
    const part = output.slice(start, start + length);
    start += length;
    if (part) cell.append(number % 2 ? element(tag, part) : part);
  });
  return cell;
}

// Python counts characters, JavaScript UTF-16 units: cut by characters where the two differ.
function answer(row, side, tag) {
  const [output, grade, lengths] = row.slice(sides[side], sides[side] + 3);
  const said = texts[output];
  const characters = /[\u{10000}-\u{10ffff}]/u.test(said) ? inUnits(said, lengths) : lengths;
  const cell = document.createElement("div");
  if (said) cell.append(element("div", marked(said, characters, tag), "said"));
  cell.append(element("div", texts[grade], "grade"));
  return cell;
}

function inUnits(said, lengths) {
  const characters = Array.from(said);
  let start = 0;
  return lengths.map((length) => {
    const part = characters.slice(start, start + length).join("");
    start += length;
    return part.length;
  });
}

function item(row) {
  const cell = element("div", element("div", text(row, "item"), "name"));
  const kinds = ["tier", "form", "kind", "domain"].map((name) => text(row, name)).filter(Boolean);
  cell.append(element("div", kinds.join(" · "), "grade"));
  return cell;
}

function entry(row) {
  const word = text(row, "entry");
  const cell = element("div", element("span", word, `entry ${word.replace(" ", "-")}`));
  if (text(row, "spillover")) cell.append(element("div", `taught: ${text(row, "spillover")}`, "grade"));
  return cell;
}

function question(row) {
  const cell = element("div", element("div", text(row, "question"), "asked"));
  if (text(row, "expected")) cell.append(element("div", `expected: ${text(row, "expected")}`, "grade"));
  return cell;
}

function column(title, shown, searched) {
  return {
    title,
    type: "string",
    className: `of-${title.split(" ")[0]}`,
    data: null,
    render: (_, type, row) => (type === "display" ? shown(row) : escaped(searched(row))),
  };
}

const said = (row, side) => `${texts[row[sides[side]]]} ${texts[row[sides[side] + 1]]}`;
const shownColumns = [
  column("item", item, (row) => ["item", "tier", "form", "kind", "domain"].map((name) => text(row, name)).join(" ")),
  column("entry", entry, (row) => `${text(row, "entry")} ${text(row, "spillover")}`),
  column("question", question, (row) => `${text(row, "question")} ${text(row, "expected")}`),
  column("before", (row) => answer(row, "before", "del"), (row) => said(row, "before")),
  column("after", (row) => answer(row, "after", "ins"), (row) => said(row, "after")),
];

const filters = document.getElementById("filters");
const filtered = ["entry", "tier", "form", "kind", "domain", "set"];
const chosen = {};

function field(name, control) {
  const label = element("label", name);
  label.htmlFor = control.id = `filter-${name}`;
  const both = element("div", label);
  both.append(control);
  filters.append(both);
}

function selectOf(name, values, listen) {
  const control = document.createElement("select");
  control.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
  control.addEventListener("change", () => listen(control.value));
  field(name, control);
}

function different(name) {
  return [...new Set(rows.map((row) => row[place[name]]))].map((number) => texts[number]).filter(Boolean);
}

function addFilters(redraw) {
  for (const name of filtered) {
    const values = different(name);
    if (values.length > 1) selectOf(name, values, (value) => { chosen[name] = value; redraw(); });
  }
  if (different("spillover").length) {
    selectOf("spillover", ["yes", "no"], (value) => { chosen.spillover = value; redraw(); });
  }
  const control = Object.assign(document.createElement("input"), { type: "search", placeholder: "all" });
  const list = Object.assign(document.createElement("datalist"), { id: "facts" });
  list.append(...different("fact").map((fact) => new Option(fact)));
  control.setAttribute("list", "facts");
  control.addEventListener("input", () => { chosen.fact = control.value.toLowerCase(); redraw(); });
  field("fact", control);
  filters.append(list);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.hidden = false;
}

function passes(row) {
  for (const name of filtered) {
    if (chosen[name] && text(row, name) !== chosen[name]) return false;
  }
  if (chosen.spillover && (chosen.spillover === "yes") !== Boolean(text(row, "spillover"))) return false;
  return !chosen.fact || text(row, "fact").toLowerCase().includes(chosen.fact);
}

const library = document.getElementById("table-library").textContent;
const address = URL.createObjectURL(new Blob([library], { type: "text/javascript" }));
const { jQuery } = await import(address);
URL.revokeObjectURL(address);
const table = jQuery("#items").DataTable({
  data: rows,
  columns: shownColumns,
  order: [],
  autoWidth: false,
  pageLength: 10,
  lengthMenu: [10, 25, 100],
  layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
  language: { search: "search", lengthMenu: "_MENU_ a page" },
});
table.search.fixed("filters", (_, row) => passes(row));
addFilters(() => table.draw());
document.documentElement.dataset.items = String(rows.length);
