module reindex.dev/xtask/pause

go 1.24.0
