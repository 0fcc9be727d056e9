"""The report on translations, for people (HTML) and programs (JSON)."""
