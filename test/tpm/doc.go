// Package tpm puts a software TPM 2.0 behind the TCP protocol of the reference simulator, so that the TPM clients of device
// SDKs can use it, and proves with it that activation blobs made by nave are ones a TPM takes.
//
// It is a module of its own because the simulator is C: cgo and the headers of OpenSSL (libssl-dev) are needed to build it.
// Clients of a user-mode resource manager, which Node's falls back to at port 2323, are understood as well.
// The process holds one TPM; its keys are gone when it ends, unless they come from a seed.
package tpm
