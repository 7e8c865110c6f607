"""Code files with regions that pages include."""

LISTING = """\
use std::io;
// ANCHOR: body
fn main() {
    // ANCHOR: call
    run();
    // ANCHOR_END: call
}
// ANCHOR_END: body
"""
PYTHON = """\
import os
# --8<-- [start:part]
def f():
    return 1
# --8<-- [end:part]
#region tail
x = f()
#endregion tail
"""
