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


def test_a_markdown_cell_ends_neither_its_cell_nor_its_line_and_is_no_html() -> None:
    assert markdown_table(["name", "a|b"], [["x", "<b>\n& |"]]) == (
        "| name | a\\|b |\n| --- | --- |\n| x | &lt;b> &amp; \\| |"
    )
