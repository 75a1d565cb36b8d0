"""The table printer: aligned columns, and cells that break neither a line nor a Markdown table."""

from __future__ import annotations

from scaler.output.table import columns, markdown_table, text_table


def test_columns_are_aligned_and_empty_ones_left_out() -> None:
    assert columns([["a", "", "1"], ["long", "", ""], ["b", "", "22"]]) == ["a     1", "long", "b     22"]
    assert columns([]) == []


def test_numbers_are_aligned_to_the_right_and_their_labels_to_the_left() -> None:
    assert columns([["", "one", "two"], ["cost", "9", "10"]], numbers=True) == ["      one  two", "cost    9   10"]


def test_a_text_table_has_a_heading_and_one_line_per_row() -> None:
    assert text_table(["name", "why"], [["a", "two\nlines"], ["long", "-"]]) == ("NAME  WHY\na     two lines\nlong  -")


ROWS = (["09:41", "a", "it is said in five words"], ["09:42", "bb", "-"])


def test_a_narrow_table_breaks_its_widest_cells_between_words() -> None:
    table = text_table(["at", "name", "why"], ROWS, 28).splitlines()
    assert table == ["AT     NAME  WHY", "09:41  a     it is said in", "             five words", "09:42  bb    -"]
    assert text_table(["at", "name", "why"], ROWS, 80) == text_table(["at", "name", "why"], ROWS)


def test_a_name_is_broken_where_nothing_else_makes_room() -> None:
    name = f"{'a-stack-of-' * 3}worker-1"
    text = text_table(("at", "server"), [["2026-11-24T22:10:00Z", name]], 44)
    assert max(map(len, text.splitlines())) <= 44
    assert "".join(line[22:] for line in text.splitlines()[1:]) == name
    assert text.splitlines()[1].startswith("2026-11-24T22:10:00Z  a-stack-of-a-stack-of-")


def test_a_table_that_stays_too_wide_leaves_columns_out_and_says_so() -> None:
    table = text_table(["at", "name", "why"], ROWS, 28, dispensable=("at", "name")).splitlines()
    assert table == [
        "NAME  WHY",
        "a     it is said in five",
        "      words",
        "bb    -",
        "",
        "Too wide for this terminal: AT.",
    ]
    # What is left is not cut off, even if a word is longer than the terminal.
    assert text_table(["word"], [["indispensable"]], 5) == "WORD\nindispensable"


def test_a_markdown_cell_ends_neither_its_cell_nor_its_line_and_is_no_html() -> None:
    assert markdown_table(["name", "a|b"], [["x", "<b>\n& |"]]) == (
        "| name | a\\|b |\n| --- | --- |\n| x | &lt;b> &amp; \\| |"
    )
