"""The action of the gate and the workflow that uses it, their steps run with bash in order as a CI would."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from conftest import REPOSITORY, small_set, write_set

ACTION = REPOSITORY / ".github" / "actions" / "gate"
REFERENCE = REPOSITORY / "reports" / "reference"
LEFT = {"gate.xml", "summary.md", "report.html", "report.md", "report.json"}
"""What the action leaves in its folder, whatever the verdict."""
CHANGES = ((r"python -m pip install .*", "true"), (r"(kapoc bench .*)", r"\1 --limit 1"))
"""What is run here in place of what stands in the files: kapoc is installed, and the tiny model is asked little."""


@dataclass
class Job:
    """Runs steps: expressions filled in, environment and outputs carried, `uses` only noted.

    Attributes:
        folder: where the steps run.
        environment: of every step.
        inputs: of the action.
        outputs: that steps wrote, as `<step>.<name>`.
        used: the actions of others that would have run, with what they would have got.
        code: of the step that failed first; 0 where none did.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    code: int = 0
    log: str = ""

    def run(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            if self.code and "always()" not in step.get("if", ""):
                continue
            if "uses" in step:
                given = {key: self._filled(str(value)) for key, value in step.get("with", {}).items()}
                self.used.append((step["uses"], given))
            else:
                self._bash(step)

    def _bash(self, step: dict[str, Any]) -> None:
        script = self._filled(step["run"])
        for pattern, instead in CHANGES:
            script = re.sub(pattern, instead, script)
        output = self.folder / ".output"
        output.touch()
        given = {key: self._filled(str(value)) for key, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607 - as a runner does
            cwd=self.folder, capture_output=True, text=True, check=False,
            env={
                **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "KAPOC_HOME": str(self.folder / "home"), "GITHUB_ACTION_PATH": str(ACTION),
                "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.folder / ".summary"),
                **self.environment, **given,
            },
        )  # fmt: skip
        self.log += done.stdout + done.stderr
        for line in output.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            self.outputs[f"{step.get('id')}.{name}"] = value
        output.unlink()
        self.code = self.code or done.returncode

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda name: self.inputs[name[1]], text)


def gated(folder: Path, environment: Mapping[str, str] | None = None, /, **given: str) -> Job:
    """The action's steps, run with its own defaults for what is not given."""
    action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
    unknown = set(given) - set(action["inputs"])
    assert not unknown
    inputs = {name: given.get(name, declared.get("default")) for name, declared in action["inputs"].items()}
    assert None not in inputs.values(), "a required input is not given"
    job = Job(folder, environment=environment or {}, inputs=inputs)
    job.run(action["runs"]["steps"])
    return job


STRICT = """
[[check]]
name = "control spillover"
kind = "non_inferiority"
quantity = "spillover/control"
margin = 0.05
"""


@pytest.mark.parametrize(
    ("run", "mode", "gate", "code"),
    [
        ("trained", "pull_request", "", 0),
        ("trained", "release", "", 0),
        ("trained", "release", STRICT, 4),  # 13 control facts cannot show a margin of 5 points
        ("plain", "release", "", 1),
        ("base", "pull_request", "", 1),
    ],
)
def test_the_action_leaves_its_files_and_ends_with_the_verdict(
    tmp_path: Path, run: str, mode: str, gate: str, code: int
) -> None:
    baseline = REPOSITORY / "reports" / "baseline" if mode == "pull_request" else REFERENCE / "base"
    (tmp_path / "strict.toml").write_text(gate, encoding="utf-8")
    own = {"gate": str(tmp_path / "strict.toml")} if gate else {}
    job = gated(tmp_path, baseline=str(baseline), run=str(REFERENCE / run), mode=mode, **own)
    assert (job.code, job.outputs["gate.exit-code"]) == (code, str(code)), job.log
    out = tmp_path / "kapoc-gate"
    assert {path.name for path in out.iterdir()} >= LEFT
    summary = (out / "summary.md").read_text(encoding="utf-8")
    assert (tmp_path / ".summary").read_text(encoding="utf-8") == summary
    verdict = {0: "PASS", 1: "FAIL", 4: "INCONCLUSIVE"}[code]
    assert f"**Verdict: {verdict}" in summary
    assert f"**Verdict: {verdict}" in (out / "report.md").read_text(encoding="utf-8")
    suite = ElementTree.parse(out / "gate.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("failures") == "0") is (code == 0)
    assert f"::{'error' if code else 'notice'} title=kapoc gate::{verdict}" in job.log
    assert job.used[-1] == (
        "actions/upload-artifact@v4", {"name": "kapoc-gate", "path": "kapoc-gate", "if-no-files-found": "ignore"}
    )  # fmt: skip


def test_the_action_says_what_is_wrong_with_its_runs_and_still_ends(tmp_path: Path) -> None:
    gated(tmp_path, baseline=str(REFERENCE / "base"), run=str(REFERENCE / "trained"))
    out = tmp_path / "kapoc-gate"
    (out / "report.svg").touch()  # of several runs, by hand
    job = gated(tmp_path, baseline="nowhere", run=str(REFERENCE / "trained"))
    assert (job.code, job.outputs["gate.exit-code"]) == (2, "2")
    assert "kapoc: nowhere: no run here" in job.log
    assert "::error title=kapoc gate::nowhere: no run here" in job.log
    assert {path.name for path in out.iterdir()} == {"gate.xml", "summary.md"}  # and no page of what was before
    assert ElementTree.parse(out / "gate.xml").getroot().get("errors") == "1"  # noqa: S314 - our own
    assert (tmp_path / ".summary").read_text(encoding="utf-8").endswith((out / "summary.md").read_text("utf-8"))
    assert (out / "summary.md").read_text(encoding="utf-8").startswith("\n**No verdict:** nowhere: no run here")


def test_the_action_says_that_there_is_no_verdict_where_the_gate_says_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "bin" / "kapoc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 70\n", encoding="utf-8")
    broken.chmod(0o755)
    job = gated(tmp_path, {"PATH": f"{broken.parent}{os.pathsep}{os.environ['PATH']}"}, baseline="a", run="b")
    assert (job.code, job.outputs["gate.exit-code"]) == (70, "70")
    told = "\n**No verdict:** kapoc gate ended with 70; the log says why.\n\n"
    assert (tmp_path / ".summary").read_text(encoding="utf-8") == told


ONLY_WITH = """
import re, sys
from importlib.metadata import packages_distributions
plain = lambda name: re.sub("[-_.]+", "-", name).lower()
installed = {plain(name) for name in sys.argv.pop(1).split(",")}
hidden = {top for top, owners in packages_distributions().items() if not installed & set(map(plain, owners))}
class Hide:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide)
from kapoc.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["gate", "--baseline", str(REFERENCE / "base"), "--run", str(REFERENCE / "plain")], 1),
        (["report", str(REFERENCE / "base"), str(REFERENCE / "trained"), "--out", "report.md"], 0),
    ],
)
def test_the_action_installs_all_that_the_gate_and_the_page_need(tmp_path: Path, command: list[str], code: int) -> None:
    """Every package that the action's requirements do not name is hidden from the two commands."""
    lines = (ACTION / "requirements.txt").read_text(encoding="utf-8").split()
    names = ",".join(["kapoc", *(line.partition("==")[0] for line in lines)])
    done = subprocess.run(
        [sys.executable, "-c", ONLY_WITH, names, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    without = names.replace("scipy,", "")
    broken = subprocess.run(
        [sys.executable, "-c", ONLY_WITH, without, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'scipy" in broken.stderr


def test_the_versions_of_the_action_are_the_locked_ones() -> None:
    locked = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert set((ACTION / "requirements.txt").read_text(encoding="utf-8").split()) <= set(locked)


def test_the_example_workflow_measures_and_gates(tmp_path: Path, llama_folder: Path) -> None:
    workflow = yaml.safe_load((REPOSITORY / "examples" / "pull-request.yml").read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    write_set(tmp_path / "my_facts.yaml", small_set())
    measure = Job(tmp_path, environment={**workflow["env"], "MODEL": str(llama_folder)})
    measure.run(jobs["measure"]["steps"])
    assert measure.code == 0, measure.log
    [kept] = [given for used, given in measure.used if "upload-artifact" in used]
    assert (tmp_path / kept["path"] / "run.json").is_file()
    used = {step["uses"].rpartition("@")[0]: step.get("with", {}) for step in jobs["gate"]["steps"]}
    assert used["actions/download-artifact"] == kept
    inputs = used["OWNER/kapoc/.github/actions/gate"]
    gate = gated(
        tmp_path, **{**inputs, "baseline": str(REPOSITORY / "reports" / "baseline"), "run": str(REFERENCE / "trained")}
    )
    assert gate.code == 0, gate.log
    assert inputs["run"] == kept["path"]


def test_the_own_workflow_uses_the_action_as_it_is() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    [given] = [
        step["with"] for step in workflow["jobs"]["gate"]["steps"] if step.get("uses") == "./.github/actions/gate"
    ]
    for name in ("baseline", "run"):
        assert (REPOSITORY / given[name] / "run.json").is_file()
