"""The scripts of the interactive figures, on every page and in their order."""

from vae_lib.explorables import SCRIPT_FILES


def setup(app):
    app.connect("config-inited", lambda app, config: config.html_static_path.extend(map(str, SCRIPT_FILES)))
    for path in SCRIPT_FILES:
        app.add_js_file(path.name)
