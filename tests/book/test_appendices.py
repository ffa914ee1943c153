"""Formula sheet, notation, field guide and map agree with the chapters they point to. Nothing is executed.

One test reads the built site, as test_site.py does.
"""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import jupytext

import notebooks

ROOT = Path(__file__).resolve().parents[2]
APPENDIX = ROOT / "book" / "appendix"
# the module alone: its package tells every process that imports it that the book is being built
_spec = importlib.util.spec_from_file_location("sheet", ROOT / "book/_ext/vae_book/sheet.py")
sheet = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sheet)

PAGES = {page: (ROOT / f"{page}.md").read_text(encoding="utf-8") for page in notebooks.pages()}
CHAPTER = re.compile(r"book/(\d\d)-")
READY = {int(m[1]): page for page in PAGES if (m := CHAPTER.match(page))}
COVERED = [number for number in READY if number <= 8]  # what the sheet and the notation page are about
EQ = re.compile(r"\{eq\}`(eq-[\w-]+)`")
REF = re.compile(r"\{ref\}`(?:[^`<]*<)?([\w-]+)>?`")


def page_of(name):
    return (APPENDIX / f"{name}.md").read_text(encoding="utf-8")


@cache
def equations():
    """label → (chapter, LaTeX), chapters 0 to 8, in reading order."""
    found = {}
    for number in sorted(COVERED):
        for label, latex in sheet.EQUATION.findall(PAGES[READY[number]]):
            found[label] = (number, latex.strip())
    return found


@cache
def labels():
    """label → page, of everything in the book that a link can lead to."""
    found = {}
    anchor = re.compile(r"^\(([\w-]+)\)=\s*$|^:label: ([\w-]+)\s*$|^    name: ([\w-]+)\s*$", re.M)
    for page, text in PAGES.items():
        found.update({"".join(label): page for label in anchor.findall(text)})
    return found


class TestFormulaSheet:
    SHOWN = re.compile(r"^```\{formula\} (\S+)\n(?::wide:\n)?(.+?)\n```$", re.M | re.S)

    def test_every_chapter_has_its_section_in_order(self):
        titles = re.findall(r"^## (\d+) · (.+)$", page_of("formulas"), re.M)
        expected = [
            re.search(rf"^# {number} · (.+)$", PAGES[READY[number]], re.M)[1] for number in sorted(COVERED)
        ]
        assert titles == [(str(n), title) for n, title in zip(sorted(COVERED), expected, strict=True)]

    def test_every_numbered_equation_is_shown_once_or_named_as_a_step(self):
        text = page_of("formulas")
        shown = [label for label, _ in self.SHOWN.findall(text)]
        named = EQ.findall(self.SHOWN.sub("", text))
        assert len(shown) > 150
        assert sorted(shown + named) == sorted(equations())

    def test_a_formula_stands_under_its_own_chapter(self):
        for section in page_of("formulas").split("\n## ")[1:]:
            number = int(section.split(" ", 1)[0])
            for label in [*(label for label, _ in self.SHOWN.findall(section)), *EQ.findall(section)]:
                assert equations()[label][0] == number, label

    def test_no_formula_is_typed_on_the_sheet(self):
        text = page_of("formulas")
        assert "$$" not in text
        assert "{math}" not in text
        for _, words in self.SHOWN.findall(text):
            assert words.strip()
            assert "\n" not in words

    def test_the_directive_reads_the_equation_of_the_chapter(self):
        known = sheet.equations(str(ROOT / "book"))
        path, latex = known["eq-kl-definition"]
        assert path.name == "02-kl-rearrangement.md"
        assert latex == r"\mathrm{KL}(q \parallel p) \;=\; \sum_z q(z)\,\ln\frac{q(z)}{p(z)} ."
        assert {label: latex for label, (_, latex) in known.items() if label in equations()} == {
            label: latex for label, (_, latex) in equations().items()
        }

    def test_the_built_sheet_shows_what_the_chapters_show(self, site):
        """Link by link: the formula under it is the one at its other end."""
        entry = re.compile(
            r'<div class="vae-formula[^"]*">\s*<p>(?:(?!</p>).)*'
            r'href="\.\./([\w-]+\.html)#(equation-eq-[\w-]+)">(?:(?!<div class="vae-formula).)*?'
            r'<div class="math">(?:(?!</div>).)*?x-tex">(.*?)</annotation>',
            re.S,
        )
        text = (site / "book/appendix/formulas.html").read_text(encoding="utf-8")
        chapters, found = {}, entry.findall(text)
        on_the_page = len(self.SHOWN.findall(page_of("formulas")))
        assert len(found) == text.count('<div class="vae-formula') == on_the_page
        for page, place, latex in found:
            if page not in chapters:
                chapters[page] = (site / "book" / page).read_text(encoding="utf-8")
            there = chapters[page].split(f'id="{place}"', 1)[1].split('x-tex">', 1)[1]
            assert there.split("</annotation>", 1)[0] == latex, place


# What LaTeX sets, or every reader knows; everything else in a numbered equation is a symbol of the course.
TEX = """Big big left right frac tfrac dfrac int sum ln exp sqrt cos sin max min arg det infty in pm approx
    sim le ge ne lVert rVert mid parallel dots quad qquad underbrace textstyle overline bar hat tilde odot
    circ top star ast leftarrow Longrightarrow partial pi"""
COMMON = {rf"\{word}" for word in TEX.split()} | {"e", "tr"}
# a letter, a Greek letter, a short name; a word of four letters or more explains itself
SYMBOL = re.compile(r"<\w{1,3}>|<math\w+>|\\|[A-Za-z]")


def tokens(latex):
    """A formula as a list of symbols: commands, words and letters, without colours, spaces and braces."""
    latex = re.sub(r"\\(?:begin|end)\{[\w*]+\}|\\textcolor\{\w+\}|\\[;,!: ]", " ", latex)
    latex = re.sub(r"\\mathrm(\s+d|\{d\})", " ", latex)  # the differential
    latex = re.sub(r"\\text\{[^{}]*\s[^{}]*\}", " ", latex)  # words between formulas
    latex = re.sub(r"_\{?\\(?:text|mathrm)\{([a-z]+)\}\}?", r" _ <\1> ", latex)  # a word as an index
    latex = re.sub(r"\\text\{[^{}]*\}", " ", latex)
    latex = re.sub(r"\\(?:mathrm|operatorname)\{(\w+)\}", r" <\1> ", latex)
    latex = re.sub(r"\\(mathcal|mathbb)\s*\{?([A-Z])\}?", r" <\1\2> ", latex)
    return re.findall(r"<\w+>|\\[A-Za-z]+|[^\s{}&\\]", latex)


def holds(latex, symbol):
    """Whether the tokens of `symbol` follow each other somewhere in `latex`."""
    where, what = tokens(latex), tokens(symbol)
    return any(where[i : i + len(what)] == what for i in range(len(where)))


class TestNotation:
    ROW = re.compile(r"^\| (\$.+?\$.*?) \| (.+) \{eq\}`(eq-[\w-]+)` \| (.*?) \|$", re.M)

    def rows(self):
        return self.ROW.findall(page_of("notation"))

    def test_a_symbol_stands_in_the_equation_that_its_row_names(self):
        rows = self.rows()
        assert len(rows) > 80
        for symbols, meaning, label, _ in rows:
            first = re.match(r"\$(.+?)\$", symbols)[1]
            assert holds(equations()[label][1], first), f"{first} ({meaning}) is not in {label}"

    def test_the_first_appearance_is_the_first(self):
        """Of a letter with several meanings, one of its rows names the first equation that has it."""
        named = {}
        for symbols, _, label, _ in self.rows():
            named.setdefault(re.match(r"\$(.+?)\$", symbols)[1], set()).add(label)
        for symbol, chosen in named.items():
            first = next(label for label, (_, latex) in equations().items() if holds(latex, symbol))
            assert first in chosen, f"{symbol} is already in {first}"

    def test_every_symbol_of_a_numbered_equation_is_explained(self):
        explained = set()
        for symbols, *_ in self.rows():
            for formula in re.findall(r"\$(.+?)\$", symbols):
                explained.update(tokens(formula))
        missing = {}
        for label, (_, latex) in equations().items():
            for token in tokens(latex):
                if SYMBOL.match(token) and token not in explained and token.strip("<>") not in COMMON:
                    missing.setdefault(token, label)
        assert missing == {}

    def test_a_name_in_the_code_is_one(self):
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "vae_lib").rglob("*.py")]
        for number in COVERED:
            page = jupytext.read(ROOT / f"{READY[number]}.md")
            sources += [cell.source for cell in page.cells if cell.cell_type == "code"]
        names = set(re.findall(r"[A-Za-z_]+", "\n".join(sources))) | {"kl_"}
        for *_, column in self.rows():
            for snippet in re.findall(r"`([^`]+)`", column):
                assert set(re.findall(r"[A-Za-z_]+", snippet)) <= names, snippet

    def test_agrees_with_the_short_table_of_chapter_0(self):
        """Each symbol of the short table has a row here."""
        short = PAGES[READY[0]].split("(notation)=\n## ")[1].split("\n## ")[0]
        rows = re.findall(r"^\| (\$.+?) \| ", short, re.M)
        assert len(rows) > 15
        explained = [tokens(symbol) for symbol in re.findall(r"\$(.+?)\$", page_of("notation"))]
        for symbols in rows:
            for formula in re.findall(r"\$(.+?)\$", symbols):
                for symbol in formula.split(r",\ "):
                    assert tokens(symbol) in explained, symbol


@cache
def drawn():
    """The names that the first cell of the map assigns: data only, read without running them."""
    cell = next(c for c in jupytext.read(APPENDIX / "map.md").cells if c.cell_type == "code")
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(cell.source).body
        if isinstance(statement, ast.Assign)
    }


class TestMap:
    ITEM = re.compile(r"^- (?:\{ref\}`([\w-]+)`|(\d+) · .+? \(planned\)): (.+)$", re.M)

    def listed(self):
        """number → (label or '', what the list says) in the order of the list."""
        pages = {page: number for number, page in READY.items()}
        return {
            pages[labels()[ref]] if ref else int(number): (ref, says)
            for ref, number, says in self.ITEM.findall(page_of("map"))
        }

    def test_the_list_says_what_the_picture_shows(self):
        listed = self.listed()
        assert list(listed) == list(drawn()["names"]) == list(range(13))
        for number, (_, says) in listed.items():
            parts = []
            for verb, uses in (("needs", drawn()["needs"]), ("helped by", drawn()["helps"])):
                if uses.get(number):
                    parts.append(f"{verb} " + ", ".join(f"{s} ({word})" for s, word in uses[number].items()))
            assert says == ("; ".join(parts) or "needs nothing before it")

    def test_what_is_planned_is_what_has_no_page(self):
        assert drawn()["planned"] == {number for number, (ref, _) in self.listed().items() if not ref}
        assert drawn()["planned"] == set(drawn()["names"]) - READY.keys()

    def test_a_chapter_says_that_it_needs_what_the_map_says(self):
        """Its line "You need" names chapters that the map has above it, as needed, helpful or further up."""
        for number in READY.keys() - {0}:
            uses = drawn()["needs"].get(number, {}) | drawn()["helps"].get(number, {})
            above, queue = set(), list(uses)
            while queue:
                above.add(source := queue.pop())
                queue += drawn()["needs"].get(source, {})
            line = re.search(r"\*\*You need\*\*(.+)", PAGES[READY[number]])[1]
            wanted = {labels()[ref] for ref in REF.findall(line)}
            assert wanted <= {READY[source] for source in above}, number

    def test_an_arc_between_two_chapters_is_a_link_in_the_text(self):
        for uses in (drawn()["needs"], drawn()["helps"]):
            for number, sources in uses.items():
                if number in READY:
                    text = PAGES[READY[number]]
                    linked = {labels().get(label) for label in [*EQ.findall(text), *REF.findall(text)]}
                    assert {READY[source] for source in sources} <= linked, number


class TestFieldGuide:
    ENTRY = re.compile(r"^\(guide-(\d+)\)=\n### (\d+) · ([^\n]+)\n\n(.+?)(?=^\(guide-|^## |\Z)", re.M | re.S)
    PLANNED = re.compile(r"[Cc]hapter (\d+), planned")

    def entries(self):
        return self.ENTRY.findall(page_of("field-guide"))

    def test_there_are_forty_five_numbered_in_order(self):
        numbers = [str(n) for n in range(1, 46)]
        assert [label for label, *_ in self.entries()] == numbers
        assert [number for _, number, *_ in self.entries()] == numbers

    def test_each_says_what_is_true_the_cure_and_where_to_see_it(self):
        for number, _, title, text in self.entries():
            starts = [part.split("**")[1] for part in text.strip().split("\n\n")]
            assert starts == ["True.", "Cure.", "See it."], number
            assert "$" not in title, f"{number}: a formula does not show in the list of contents"

    def test_each_leads_to_a_cell_or_names_the_planned_chapter(self):
        with_code = {path.relative_to(ROOT).with_suffix("").as_posix() for path in notebooks.sources()}
        with_code |= {page for page in PAGES if page.startswith("book/exercises/")}
        waiting = []
        for number, _, _, text in self.entries():
            where = text.split("**See it.**")[1]
            shown = EQ.findall(where) + REF.findall(where.replace("{numref}", "{ref}"))
            assert {labels()[label] for label in shown} <= with_code | {"book/appendix/faults"}, number
            if not any(labels()[label] in with_code for label in shown):
                assert self.PLANNED.search(where), number
                waiting.append(number)
        assert len(waiting) <= 1

    def test_a_planned_chapter_is_not_there_yet(self):
        """When it comes, the entries that wait for it get their links."""
        chapters = {int(number) for number in self.PLANNED.findall(page_of("field-guide"))}
        assert chapters == {9, 10, 11} - READY.keys()

    def test_the_symptoms_lead_to_entries(self):
        table = page_of("field-guide").split("## By symptom")[1].split("\n## ")[0]
        links = re.findall(r"\{ref\}`(\d+) <guide-(\d+)>`", table)
        assert len(links) == table.count("{ref}") > 30
        for shown, label in links:
            assert shown == label
            assert 1 <= int(label) <= 45

    def test_a_named_bug_is_one_of_the_switchboard(self):
        names = set(re.findall(r"^\| `(\w+)` \| ", PAGES[READY[7]], re.M))
        used = set(re.findall(r"`(\w+)` in \{ref\}`sec-7-the-bug-switchboard`", page_of("field-guide")))
        assert len(used) >= 5
        assert used <= names
