"""Number equations, figures and definitions as chapter.n, with the chapter's own number.

Sphinx would count the files of the table of contents; our chapters keep the number in their file name,
so that chapter 8 is chapter 8 also while chapters 3 to 7 are being written.
"""

import re

CHAPTER = re.compile(r"(?:^|/)(\d\d)[-_][^/]*$")


def chapter_of(config, docname):
    """The number that opens every numbered thing of a page, or None."""
    if docname in config.vae_book_numbering:
        return config.vae_book_numbering[docname]
    match = CHAPTER.search(docname)
    return int(match.group(1)) if match and "/exercises/" not in docname else None


def renumber(app, env):
    for docname, types in env.toc_fignumbers.items():
        chapter = chapter_of(app.config, docname)
        if chapter is None:
            continue
        for labels in types.values():
            in_order = sorted(labels.items(), key=lambda item: item[1])
            labels.update({label: (chapter, i) for i, (label, _) in enumerate(in_order, 1)})
    return []


def setup(app):
    app.add_config_value("vae_book_numbering", {}, "env")
    # after Sphinx's own collector has assigned its numbers (priority 500)
    app.connect("env-get-updated", renumber, priority=900)
