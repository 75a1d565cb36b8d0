"""What `pulumi preview` and `pulumi up` run by hand; scaler runs the same declarations itself."""

from scaler.program import run_by_hand

run_by_hand()
