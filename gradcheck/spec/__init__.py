"""The spec file: read with locations, validated against one schema, turned into frozen records."""
