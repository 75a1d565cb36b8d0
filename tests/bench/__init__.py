"""`make bench`: the numbers to reach, measured; never part of the tests."""
