"""Two kinds of modules: `test_*.py` are the tests of `scaler/support`, and all others are code that tests share."""
