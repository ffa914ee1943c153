"""A real browser for the tests: the Chromium that is installed, cut off from every other host.

`open_page` opens a page and watches it: errors, warnings and failed requests are recorded, and so are
requests that would leave this machine, which are aborted. Where no Chromium is installed the tests are
skipped with that reason; with CI=true they fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
]
# One expression that Chromium's driver can read: a function would be asked for each file of each page.
LOCAL = re.compile(r"(file|data|blob|about):|\w+://(localhost|127\.0\.0\.1|\[::1\])([:/]|$)")
ELSEWHERE = re.compile(rf"^(?!{LOCAL.pattern})")


def find_chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        for found in (shutil.which(name), f"/usr/bin/{name}"):
            if found and Path(found).exists():
                return found
    return None


def is_local(address: str) -> bool:
    """Whether a request stays on this machine."""
    return LOCAL.match(address) is not None


def watch(context) -> tuple[list[str], list[str]]:
    """Abort requests to other hosts. Record them, and what any page of the context complains about.

    Returns:
        Faults (errors and warnings in the console, uncaught exceptions, failed requests) and the
        addresses elsewhere that were asked for. Both lists grow while the pages live.
    """
    faults: list[str] = []
    elsewhere: list[str] = []

    def stop(route) -> None:
        elsewhere.append(route.request.url)
        route.abort()

    def complained(message) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"{message.type}: {message.text}")

    def failed(request) -> None:
        if is_local(request.url):
            faults.append(f"request failed: {request.url} ({request.failure})")

    def listen(page) -> None:
        page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
        page.on("console", complained)
        page.on("requestfailed", failed)

    context.route(ELSEWHERE, stop)
    context.on("page", listen)
    return faults, elsewhere


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for a module's tests. It ends with them: its event loop would disturb others."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium on this machine: install the package chromium to run the browser tests"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(chromium) -> Callable[..., AbstractContextManager[Any]]:
    """Open an address: `with open_page(url) as tab:`. The tab is a Playwright page in a fresh context.

    It carries two lists: `tab.faults` and `tab.elsewhere`, see `watch`.
    """

    @contextmanager
    def open_page(
        url: str,
        *,
        color_scheme: str = "light",
        width: int = 1000,
        height: int = 900,
        javascript: bool = True,
        reduced_motion: str = "reduce",
        **options: Any,
    ) -> Iterator[Any]:
        context = chromium.new_context(
            color_scheme=color_scheme,
            viewport={"width": width, "height": height},
            java_script_enabled=javascript,
            reduced_motion=reduced_motion,
            **options,
        )
        faults, elsewhere = watch(context)
        try:
            tab = context.new_page()
            tab.faults, tab.elsewhere = faults, elsewhere
            tab.set_default_timeout(20_000)
            tab.goto(url)
            yield tab
        finally:
            context.close()

    return open_page


@pytest.fixture(scope="session")
def axe_violations() -> Callable[..., list[str]]:
    """The accessibility rules that a page breaks: `axe_violations(tab, exclude=[selector, …])`.

    `include` looks at some elements alone, `only` at some rules, `without` at all other rules.
    """
    from axe_playwright_python.sync_playwright import Axe

    axe = Axe()

    def violations(
        tab: Any,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        only: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> list[str]:
        context = {
            name: [[selector] for selector in selectors]
            for name, selectors in (("include", include), ("exclude", exclude))
            if selectors
        }
        # preloading would fetch the style sheets again, which a page on disk may not
        options = {"resultTypes": ["violations"], "preload": False}
        if only:
            options["runOnly"] = list(only)
        if without:
            options["rules"] = {rule: {"enabled": False} for rule in without}
        found = axe.run(tab, context=context or None, options=options).response["violations"]
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:160]}"
            for rule in found
            for node in rule["nodes"]
            if not (rule["id"] == "empty-table-header" and holds_a_formula(tab, node["target"][0]))
        ]

    def holds_a_formula(tab: Any, selector: str) -> bool:
        """axe does not read MathML, so it takes a header that is a formula for an empty one."""
        return tab.locator(selector).locator("math").count() > 0

    return violations
