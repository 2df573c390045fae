module github.com/nave-hub/nave/test/tpm

go 1.26.0

replace github.com/nave-hub/nave => ../..

require (
	github.com/google/go-tpm v0.9.8
	github.com/google/go-tpm-tools v0.4.4
	github.com/nave-hub/nave v0.0.0-00010101000000-000000000000
)

require (
	github.com/google/go-configfs-tsm v0.3.3 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
