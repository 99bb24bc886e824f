module oplab.dev/hack/toolchain/oci-runtime

go 1.25
