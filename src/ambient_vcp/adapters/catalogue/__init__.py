"""The built-in named programs: a folder each, with source, manifest, module and page."""
