"""The HTML report in a real browser: what strangers wrote does nothing, and nothing overflows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, chromium
from processes import ROOT, NotReady, program

SCENARIOS = ROOT / "tests" / "scenarios"
WIDTHS = (360, 1440)

# Markup that runs where one escape is missing: in text, in attributes, in SVG, in the style, in the
# title. What cannot be seen, what changes the direction, what a terminal obeys, what never breaks.
HOSTILE = (
    "<script>hacked()</script>",
    "'onmouseover=hacked() autofocus onfocus=hacked() x='",
    '"><img/src=x onerror=hacked()><svg/onload=hacked()>'.replace('"', "\\x22"),
    "</title></style></svg></pre><script>hacked()</script>",
    "<style>body{display:none}</style><base href=//evil.test>",
    "<meta http-equiv=refresh content=0;url=//evil.test>",
    "<iframe src=javascript:hacked()></iframe><link rel=stylesheet href=//evil.test>",
    "&lt;script&gt;&#x3c;b&#x3e;${7*7}{{7*7}}",
    "abc\u202egpj.exe\u2066\u200b\ufeff\u0000\u001b[2J\u001b]0;x\u0007",
    "W" * 3000,
    "\u05e9\u05dc\u05d5\u05dd" * 40,
    "Z" + "\u0301\u0302\u0303" * 60,
    "\u6f22" * 400,
)

# An element may be wider than the page only where it scrolls by itself.
TOO_WIDE = """
[...document.querySelectorAll('body *')]
  .filter(it => !it.closest('.scroll > *, thead, details:not([open]) > :not(summary)'))
  .filter(it => it.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(it => it.outerHTML.slice(0, 120))
"""

# Labels of a drawing that lie upon each other, or outside of it.
MISPLACED = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const labels = [...svg.querySelectorAll('text')];
  const all = labels.map(it => [it.textContent, it.getBoundingClientRect()]);
  const frame = svg.getBoundingClientRect();
  const outside = all.filter(([, it]) => it.left < frame.left - 1 || it.right > frame.right + 1);
  const over = all.filter(([, a], i) => all.some(([, b], j) =>
    i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
  return [...outside, ...over].map(([text]) => text);
})
"""

UNNAMED = """
[...document.querySelectorAll('svg[role=img]')]
  .flatMap(svg => svg.getAttribute('aria-labelledby').split(' '))
  .filter(id => !document.getElementById(id)?.textContent)
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages."""
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def report(folder: Path, *arguments: str | Path) -> Path:
    """What `alb502 diagnose --format html` writes."""
    page = folder / "report.html"
    command = [program("alb502"), "diagnose", *arguments, "--format", "html", "--output", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return page


def scenario(folder: Path, name: str) -> Path:
    """The report of a scenario of the library."""
    snapshot = SCENARIOS / name / "snapshot"
    known = ("--snapshot", snapshot) if snapshot.is_dir() else ()
    return report(folder, SCENARIOS / name / "logs", *known)


def rows(hostile: tuple[str, ...]) -> bytes:
    """Rows in which every field that a stranger can write is hostile; a third of them fail."""
    lines = []
    for number in range(240):
        word = hostile[number % len(hostile)]
        time = f"2026-11-20T12:{number // 60:02}:{number % 60:02}"
        failed = number % 3 == 0
        times, status = ("0.001 0.020 -1", "502 -") if failed else ("0.001 0.018 0.000", "200 200")
        reason = word.replace(" ", "") if number % 2 else "-"
        target = f"10.0.0.{number % 4}:8080"
        if number % 4 == 3:
            target = word.replace(" ", "")[:200]
        lines.append(
            f"h2 {time}.020000Z app/<b>shop</b>/0123456789abcdef 198.51.100.7:40000 {target} "
            f'{times} {status} 200 300 "{word[:30].replace(" ", "")} '
            f'https://{word.replace(" ", "")}/{word.replace(" ", "")}/x HTTP/2.0" "{word}" - - '
            f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/"
            f"<script>hacked()</script>{'x' * 300}/0123 "
            f'"Root={word}" "{word}" "{word}" 0 {time}.000000Z "forward" "-" "{reason}" '
            f'"{target}" "-" "{word}" "{word}" {word.replace(" ", "")}'
        )
    return "\n".join(lines).encode(errors="replace")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of hostile rows in a file with a hostile name, and a damaged one beside it."""
    folder = tmp_path_factory.mktemp("hostile")
    logs = folder / "logs <img src=x onerror=hacked()>"
    logs.mkdir()
    (logs / "\u202e<script>hacked()<.log").write_bytes(rows(HOSTILE))
    page = report(folder, logs)
    assert page.stat().st_size < 2_000_000
    return page


def look(browser: Browser) -> None:
    """What holds for every page, as it is shown now."""
    assert browser.complaints() == []
    assert all(address.startswith("file://") for address in browser.requested())
    assert len(browser.requested()) == 1, browser.requested()
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate(TOO_WIDE) == []
    width = browser.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert width <= 0
    assert browser.evaluate(MISPLACED) == []
    assert browser.evaluate(UNNAMED) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_rows_do_nothing(browser: Browser, hostile: Path, width: int, dark: bool) -> None:
    """No script, no dialog, no request, nothing in the console, nothing wider than the page."""
    browser.open(hostile.as_uri(), width=width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
    look(browser)
    text = browser.evaluate("document.body.innerText")
    assert "<script>hacked()</script>" in text
    assert browser.evaluate("document.querySelector('img, iframe, base, link, object')") is None
    for hidden in "\u202e\u2066\u200b\ufeff\u0000\u001b\u0007":
        assert hidden not in text + browser.evaluate("document.title")


def test_escapes_hold_without_the_policy(browser: Browser, hostile: Path, tmp_path: Path) -> None:
    """The policy is the second wall, not the only one."""
    before, rest = hostile.read_text().split("<meta http-equiv", 1)
    page = tmp_path / "open.html"
    page.write_text(before + rest.split(">", 1)[1])
    browser.open(page.as_uri(), width=1440)
    look(browser)


@pytest.mark.parametrize(
    "slipped",
    [
        "<script>document.title = 'hacked'</script>",
        "<p onclick=hacked() style='color: red'>",
        "<style>body { display: none }</style>",
        "<img src='https://evil.test/x.png'>",
    ],
)
def test_the_policy_holds_without_escapes(
    browser: Browser, hostile: Path, tmp_path: Path, slipped: str
) -> None:
    """Whatever slipped through would not run, load or apply; and this test would see it."""
    page = tmp_path / "slipped.html"
    page.write_text(hostile.read_text().replace("<main>", f"<main>{slipped}", 1))
    browser.open(page.as_uri(), width=1440)
    assert "Content Security Policy" in json.dumps(browser.complaints())
    assert browser.evaluate("document.title") != "hacked"
    assert browser.evaluate("getComputedStyle(document.body).display") == "block"


@pytest.mark.parametrize(
    "name",
    [
        "keepalive-race-node",
        "keepalive-two-settings",
        "keepalive-trickle",
        "blocked-port",
        "mixed-keepalive-malformed",
        "connect-refused-without-snapshot",
        "intentional-fixed-response",
        "lambda-throttling-and-unhandled",
        "cut-objects",
        "healthy",
    ],
)
def test_reports_fit_every_screen(browser: Browser, tmp_path: Path, name: str) -> None:
    """On a phone and a wide screen, light and dark, folded and unfolded; and on paper."""
    if name == "cut-objects":
        command = [program("alb502"), "diagnose", SCENARIOS / name / "logs", "--format", "html"]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 1, "it could not read all, and tells what it could"
        page = tmp_path / "report.html"
        page.write_bytes(done.stdout)
    else:
        page = scenario(tmp_path, name)
    grounds = set()
    for width in WIDTHS:
        for dark in (False, True):
            browser.open(page.as_uri(), width=width, dark=dark)
            look(browser)
            browser.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
            look(browser)
            grounds.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2, "light and dark differ"
    assert browser.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("measured", [0.4, 2.0, 5.5, 58.0])
def test_measured_and_inferred_timeouts_stand_side_by_side(
    browser: Browser, tmp_path: Path, measured: float
) -> None:
    """The picture of the idle time, with a probe beside what the rows show: about 6 s."""
    name = "keepalive-race-node"
    log = scenario(tmp_path, name).read_text()
    address, port = re.search(r"(10\.[\d.]+):(\d+)", log).groups()
    probe = {
        "schema_version": "1",
        "time": "2026-11-28T12:03:10Z",
        "target": {"address": address, "port": int(port), "method": "GET", "path": "/" + "W" * 300},
        "idle_timeout_seconds": 60,
        "connect": {"outcome": "connected"},
        "keep_alive_seconds": measured,
        "keep_alive": {"connections": [{"outcome": "closed", "idle_seconds": measured}]},
        "findings": [
            {
                "cause": "keepalive-race",
                "would_be": "502",
                "certainty": "documented",
                "why": HOSTILE[0] + "W" * 300,
            }
        ],
    }
    (tmp_path / "probe.json").write_text(json.dumps(probe))
    page = report(tmp_path, SCENARIOS / name / "logs", "--probe", tmp_path / "probe.json")
    for width in WIDTHS:
        browser.open(page.as_uri(), width=width)
        browser.evaluate("document.querySelectorAll('details').forEach(it => it.open = true)")
        look(browser)
        text = browser.evaluate("document.body.innerText")
        assert f"A probe measured a timeout of {measured:g} s." in text
        labels = browser.evaluate(
            "[...document.querySelectorAll('text.mark-label')].map(it => it.textContent)"
        )
        assert any(label.startswith(("measured", "inferred")) for label in labels), labels


def test_several_incidents_have_a_list_that_leads_to_them(browser: Browser, tmp_path: Path) -> None:
    """Two load balancers in one run."""
    logs = [SCENARIOS / name / "logs" for name in ("blocked-port", "keepalive-race-node")]
    page = report(tmp_path, *logs)
    browser.open(page.as_uri(), width=360)
    look(browser)
    links = browser.evaluate("[...document.querySelectorAll('nav a')].map(it => it.hash)")
    assert links == ["#incident-1", "#incident-2"]
    browser.evaluate("document.querySelector('nav a[href=\"#incident-2\"]').click()")
    top = browser.evaluate("document.getElementById('incident-2').getBoundingClientRect().top")
    assert abs(top) < 2


def test_one_click_selects_a_command(browser: Browser, tmp_path: Path) -> None:
    """All of it and nothing else, without a script."""
    browser.open(scenario(tmp_path, "blocked-port").as_uri(), width=1440, height=1200)
    command = browser.evaluate("document.querySelector('.do pre').innerText").strip()
    assert command.startswith("aws ec2 authorize-security-group-ingress")
    box = browser.evaluate(
        "(({x, y}) => [x, y])(document.querySelector('.do pre').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        browser.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box[0] + 40,
            y=box[1] + 20,
            button="left",
            clickCount=1,
        )
    assert browser.evaluate("getSelection().toString()").strip() == command


def test_words_can_be_read_in_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    """Contrast of all text with its ground: 4.5 at least, as WCAG 2 asks (AA)."""
    page = scenario(tmp_path, "mixed-keepalive-malformed")
    contrast = """
    (() => {
      const parts = colour => colour.match(/[0-9.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(it => it / 255)
        .map(it => it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
        .reduce((sum, it, i) => sum + it * [0.2126, 0.7152, 0.0722][i], 0);
      const ground = it => {
        for (; it; it = it.parentElement) {
          const colour = parts(getComputedStyle(it).backgroundColor);
          if (colour.length < 4 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
      };
      return [...document.querySelectorAll('main *')]
        .filter(it => [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
        .filter(it => !['title', 'desc'].includes(it.tagName))
        .map(it => {
          const style = getComputedStyle(it);
          const colour = it.tagName === 'text' ? style.fill : style.color;
          const [a, b] = [parts(colour), ground(it)].map(light);
          return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), it.outerHTML.slice(0, 100)];
        })
        .filter(([contrast]) => contrast < 4.5);
    })()
    """
    for dark in (False, True):
        browser.open(page.as_uri(), width=1440, dark=dark)
        assert browser.evaluate(contrast) == []


@pytest.mark.parametrize("named", ["", "/no/such/chromium"])
def test_a_missing_browser_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Not a test that is passed over."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CHROMIUM", named)
    with pytest.raises(NotReady, match="apt-get install chromium"):
        chromium()
    done = subprocess.run(
        ["/bin/bash", ROOT / ".ci" / "browser"],
        env={"PATH": "/nowhere", "CHROMIUM": named},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "CHROMIUM" in done.stderr
