module oplab.dev/test/fault/tar

go 1.26.0
