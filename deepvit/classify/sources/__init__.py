"""Where images lie: files, folders, globs, lists, tar shards, tables of bytes, here or in a store."""
