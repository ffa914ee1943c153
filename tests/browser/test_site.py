"""The built site in Chromium, from disk, every other host blocked."""

from collections import Counter
from pathlib import Path

import pytest

import notebooks

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
PAGES = list(notebooks.pages())
WITH_FIGURES = ["book/02-kl-rearrangement", "book/08-build-and-train", "book/12-gpu-vae", "book/index"]
# Not ours: the theme's colour-mode button names itself by the titles of three pictures; one is shown.
SKIPPED = [".theme-switch-button"]
# axe looks at every element. The visible layer of a formula is hidden from screen readers, which read the
# MathML beside it. Of hundreds of formulas and thousands of coloured words of code, some tell as much as all.
THIN_OUT = """() => {
    document.querySelectorAll('.katex-html').forEach(e => e.remove());
    [...document.querySelectorAll('.katex')].slice(20).forEach(e => e.replaceWith('a formula'));
    const seen = {};
    const words = document.querySelectorAll('.highlight span[class], .sig span[class], code > .pre');
    for (const e of [...words].reverse()) {  // what is inside first
        const kind = e.parentElement.className + ' ' + e.className;
        seen[kind] = (seen[kind] ?? 0) + 1;
        if (seen[kind] > 10 && !e.querySelector('*')) e.replaceWith(e.textContent);
    }
}"""
# Contrast takes axe the longest. Words in one colour on one background need one look, on all pages
# together: `seen` counts the looks that were met before.
SAMPLE = """seen => {
    document.querySelectorAll('[data-sample]').forEach(e => e.removeAttribute('data-sample'));
    const ground = e => {
        for (; e; e = e.parentElement) {
            const style = getComputedStyle(e);
            if (style.backgroundImage !== 'none') return style.backgroundImage;
            if (!/^rgba\\(.*, 0\\)$/.test(style.backgroundColor)) return style.backgroundColor;
        }
    };
    const met = {};
    for (const e of document.querySelectorAll('body *')) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const { color, fontSize, fontWeight, opacity } = getComputedStyle(e);
        const size = parseFloat(fontSize), large = size >= 24 || (size >= 18.5 && fontWeight >= 700);
        const look = [color, ground(e), large, opacity].join();  // all that the rule asks for
        met[look] = (met[look] ?? 0) + 1;
        if ((seen[look] ?? 0) + met[look] <= 2) e.dataset.sample = '';
    }
    return met;
}"""
CONTRAST = ["color-contrast"]
ROOM = 1  # pixels of rounding


def address(page):
    path = SITE / f"{page}.html"
    if not path.exists():
        pytest.fail(f"there is no {path.relative_to(ROOT)}: run `make book` first")
    return path.as_uri()


@pytest.fixture(scope="module")
def contrast_violations(axe_violations):
    """Words of a page that stand out too little from what is behind them, each look measured once."""
    seen = Counter()

    def violations(tab):
        met = tab.evaluate(SAMPLE, seen)
        assert len(met) > 5
        seen.update(met)
        if not tab.locator("[data-sample]").count():
            return []
        return axe_violations(tab, include=["[data-sample]"], only=CONTRAST)

    return violations


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_without_a_fault_fits_a_phone_and_is_accessible(
    open_page, axe_violations, contrast_violations, page
):
    with open_page(address(page), color_scheme="light") as tab:
        tab.wait_for_load_state("load")
        wide = tab.viewport_size
        tab.set_viewport_size({"width": 390, "height": 844})
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390 + ROOM
        # what is wider than the screen must be able to scroll inside a box of its own
        cut = tab.evaluate(
            """() => [...document.querySelectorAll('.bd-article :is(svg, img, table, .vae-figure)')]
                .filter(e => !e.closest('.katex') && e.getBoundingClientRect().right > innerWidth + 1)
                .filter(e => { for (let p = e.parentElement; p; p = p.parentElement)
                                 if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX)) return false;
                               return true; })
                .map(e => e.outerHTML.slice(0, 120))"""
        )
        assert cut == []

        tab.set_viewport_size(wide)
        tab.evaluate(THIN_OUT)
        assert axe_violations(tab, exclude=SKIPPED, without=CONTRAST) == []
        for theme in ("light", "dark"):
            tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            assert contrast_violations(tab) == []
        assert tab.faults == []
        assert tab.elsewhere == []


@pytest.mark.parametrize(("theme", "colour"), [("light", "#999"), ("dark", "#444")])
def test_a_word_without_contrast_is_found_among_the_others(open_page, contrast_violations, theme, colour):
    with open_page(address("book/appendix/glossary"), color_scheme=theme) as tab:
        assert contrast_violations(tab) == []
        tab.evaluate(f"document.querySelectorAll('dd p')[9].style.color = '{colour}'")
        assert contrast_violations(tab) != []


@pytest.mark.parametrize("page", WITH_FIGURES)
def test_without_scripts_formulas_and_figures_are_there(open_page, page):
    with open_page(address(page), javascript=False) as tab:
        posters = tab.locator(".vae-figure img, .vae-figure svg")
        assert posters.count() >= 1
        assert posters.first.is_visible()
        if page != "book/index":
            assert tab.locator(".katex-html").count() > 50


def test_the_page_follows_the_dark_switch(open_page):
    with open_page(address("book/02-kl-rearrangement"), color_scheme="light") as tab:
        ink = "getComputedStyle(document.querySelector('.bd-article svg[role=img]')).color"
        light = tab.evaluate(ink)
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert tab.evaluate(ink) != light


def test_the_search_finds_a_word_on_disk(open_page):
    with open_page(address("book/index").replace("book/index.html", "search.html") + "?q=posterior") as tab:
        tab.wait_for_selector("#search-results li", timeout=20_000)
        assert tab.locator("#search-results li").count() >= 2
