"""The same servers by others: the official client, Terraform, and plain Pulumi with the official plugin."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench.project import TOKEN, Bench, Cost

_TERRAFORM = """\
terraform {{
  required_providers {{
    hcloud = {{ source = "hetznercloud/hcloud" }}
  }}
}}
variable "n" {{ type = number }}
provider "hcloud" {{
  endpoint = "{endpoint}"
  token    = "{token}"
}}
resource "hcloud_server" "worker" {{
  count       = var.n
  name        = "peer-${{count.index}}"
  server_type = "cx23"
  image       = "ubuntu-24.04"
  location    = "fsn1"
  ssh_keys    = ["deploy"]
}}
"""
_CLI = """\
disable_checkpoint = true
provider_installation {{
  dev_overrides {{ "hetznercloud/hcloud" = "{providers}" }}
  direct {{}}
}}
"""


def by_client(at: Bench, few: int, size: int) -> tuple[float, float]:
    """Seconds by the official client: `few` servers one after the other, and `size` by a pool of threads."""
    from hcloud import Client
    from hcloud.images import Image
    from hcloud.server_types import ServerType

    client = Client(TOKEN, at.endpoint)

    def create(number: int) -> object:
        made = client.servers.create(f"peer-{number}", ServerType(name="cx23"), Image(name="ubuntu-24.04"))
        for action in [made.action, *made.next_actions]:
            action.wait_until_finished()
        return made.server

    def timed(run: Callable[[], list[Any]]) -> float:
        started = time.monotonic()
        servers = run()
        spent = time.monotonic() - started
        for server in servers:
            client.servers.delete(server).wait_until_finished()
        return spent

    loop = timed(lambda: [create(number) for number in range(few)])
    with ThreadPoolExecutor(size) as pool:
        return loop, timed(lambda: list(pool.map(create, range(size))))


def by_terraform(at: Bench, size: int, parallel: int) -> tuple[Cost, Cost, Cost] | str:
    """From nothing to a size, nothing to do, and down to ten; why not, where it is not here."""
    program = shutil.which("terraform") or shutil.which("tofu")
    provider = next(
        (found for folder in _path() for found in sorted(Path(folder).glob("terraform-provider-hcloud*"))), None
    )
    if not program or not provider:
        return "no terraform or tofu, or no terraform-provider-hcloud, on PATH"
    folder = at.folder / f"terraform{size}"
    folder.mkdir(exist_ok=True)
    (folder / "main.tf").write_text(_TERRAFORM.format(endpoint=at.endpoint, token=TOKEN))
    (folder / "cli.tfrc").write_text(_CLI.format(providers=provider.parent))
    at.environ["TF_CLI_CONFIG_FILE"] = str(folder / "cli.tfrc")

    def apply(count: int) -> Cost:
        words = ["apply", "-auto-approve", f"-parallelism={parallel}", "-var", f"n={count}"]
        return at.run([program, *words], cwd=folder)

    costs = apply(size), apply(size), apply(10)
    apply(0)
    return costs


def by_official_plugin(at: Bench, size: int, parallel: int) -> tuple[Cost, Cost, Cost] | str:
    """The same by plain Pulumi; why not, where the official plugin is not here."""
    if not shutil.which("pulumi-resource-hcloud"):
        return "no pulumi-resource-hcloud on PATH"
    folder = at.folder / f"pulumi{size}"
    folder.mkdir(exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text("name: peer\nruntime: python\nmain: program\n")
    (folder / "program").mkdir(exist_ok=True)
    (folder / "program" / "__main__.py").write_text(_PROGRAM)
    at.environ |= {
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    engine = at.environ["SCALER_ENGINE"]
    at.run([engine, "stack", "init", "peer", "--non-interactive"], cwd=folder)

    def up(count: int) -> Cost:
        at.environ["PEER_SERVERS"] = str(count)
        words = ["up", "--yes", "--skip-preview", "--non-interactive", "--refresh", "--parallel", str(parallel)]
        return at.run([engine, *words], cwd=folder)

    costs = up(size), up(size), up(10)
    up(0)
    return costs


_PROGRAM = """\
import os
import pulumi_hcloud as hcloud

for number in range(int(os.environ["PEER_SERVERS"])):
    hcloud.Server(
        f"peer-{number}", name=f"peer-{number}", server_type="cx23", image="ubuntu-24.04", location="fsn1",
        ssh_keys=["deploy"],
    )
"""


def _path() -> list[str]:
    return os.environ.get("PATH", "").split(os.pathsep)
