"""Pages: what is drawn with matplotlib, in one style; each file draws one kind of them, from numbers alone."""
