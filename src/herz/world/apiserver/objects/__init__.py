"""The kinds: their fields, defaults, rules, selectors, patches and columns. No I/O."""
