"""Where agents act: environment families behind one contract."""
