"""The world: what happens in the embedded cloud besides requests, and the account that requests are held against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from scaler.simulator import profiles
from scaler.simulator.faults import Effect, FaultReport, Rule
from scaler.simulator.limits import Bucket, LimitVerdict, sliding
from scaler.simulator.profiles import CloudName, Knobs
from scaler.simulator.ssh_keys import fingerprint_of
from scaler.simulator.store import LOG_ROWS, Store
from scaler.simulator.things import FOREVER, LoggedRequest, Thing, address

__all__ = ["FOREVER", "LOG_ROWS", "LoggedRequest", "SimulatedWorld", "Thing", "address", "token_hash"]

CPU_KEPT = 100
"""How many changes of a machine's load are remembered."""

_DEFAULT_QUOTA: Mapping[str, Mapping[str, int]] = {
    "hetzner": {"servers": 1000, "primary_ips": 2000},
    "digitalocean": {"droplets": 1000},
}
_DEFAULT_RATES: Mapping[str, Mapping[str, int]] = {
    "hetzner": {"per_hour": 3600},
    "digitalocean": {"per_hour": 5000, "per_minute": 250},
}


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKeyWhichNobodyCanEverUse"


def token_hash(token: str) -> str:
    """What the world keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class SimulatedWorld(Store):
    """One embedded cloud. A new one has a key `deploy` and a snapshot `worker-golden` at each cloud."""

    def _seed(self) -> None:
        with self.transaction():
            for cloud in profiles.CLOUDS:
                self.add_ssh_key(cloud, "deploy", f"{_KEY} deploy")
            worker = {"role": "worker"}
            self.add_snapshot("hetzner", "worker-golden", labels=worker, disk=40)
            self.add_snapshot("digitalocean", "worker-golden", labels=worker, disk=25, regions=("fra1", "nyc3", "ams3"))

    # -----------------------------------------------------------------------------------------
    # How long things take

    def set_profile(self, profile: str, **overrides: float) -> None:
        """Choose how long things take (`profiles.PROFILES`), with single knobs overridden at both clouds."""
        for cloud in profiles.CLOUDS:
            profiles.knobs(profile, cloud, overrides)
        with self.transaction():
            self.set("profile", profile)
            self.set("knobs", dict.fromkeys(profiles.CLOUDS, overrides))

    def set_knobs(self, cloud: CloudName | None = None, **overrides: float) -> None:
        """Override single knobs, at one cloud or at both."""
        with self.transaction():
            current = self.setting("knobs", {})
            for name in (cloud,) if cloud else profiles.CLOUDS:
                current[name] = {**current.get(name, {}), **overrides}
                profiles.knobs(self.profile, name, current[name])
            self.set("knobs", current)

    @property
    def profile(self) -> str:
        """The name of the latency profile."""
        return str(self.setting("profile", profiles.DEFAULT_PROFILE))

    def knobs(self, cloud: CloudName) -> Knobs:
        """How long things take at one cloud now."""
        with self.transaction():
            return profiles.knobs(self.profile, cloud, self.setting("knobs", {}).get(cloud, {}))

    # -----------------------------------------------------------------------------------------
    # Edits from outside: what a person does in the vendor's console

    def servers(self, cloud: CloudName = "hetzner") -> list[Thing]:
        """The machines that exist now, in order of their ids."""
        return self.things(cloud, "server")

    def server(self, cloud: CloudName, id: int) -> Thing:
        """One machine; LookupError if there is none."""
        found = self.get(cloud, "server", id)
        if found is None:
            raise LookupError(f"no server {id} at {cloud}")
        return found

    def add_server(
        self,
        cloud: CloudName,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        type: str | None = None,
        location: str | None = None,
        image: int | None = None,
        status: str | None = None,
    ) -> Thing:
        """A machine that somebody else made: `labels` at Hetzner, `tags` at DigitalOcean."""
        hetzner = cloud == "hetzner"
        with self.transaction() as now:
            body = {
                "type": type or ("cx23" if hetzner else "s-1vcpu-1gb"),
                "location": location or ("fsn1" if hetzner else "fra1"),
                "image": image,
                "labels": dict(labels or {}),
                "tags": list(tags),
                "timeline": [[now, status or ("running" if hetzner else "active")]],
                "busy_until": 0.0,
            }
            return self.add(cloud, "server", name, body)

    def vanish(self, cloud: CloudName, id: int) -> None:
        """Take a machine away without an action."""
        with self.transaction():
            self.remove(self.server(cloud, id))

    def set_status(self, cloud: CloudName, id: int, status: str) -> None:
        """Give a machine any of its cloud's statuses, from now on."""
        with self.transaction() as now:
            server = self.server(cloud, id)
            server.become(now, (now, status))
            self.save(server)

    def power_off(self, cloud: CloudName, id: int) -> None:
        """Switch a machine off without an action."""
        self.set_status(cloud, id, "off")

    def set_cpu(self, cloud: CloudName, id: int, share: float) -> None:
        """Load a machine, from now on: 1 is all its cores."""
        if not 0 <= share <= 1:
            raise ValueError(f"a machine's load is from 0 to 1, not {share}")
        with self.transaction() as now:
            server = self.server(cloud, id)
            server.body["cpu"] = [*server.body.get("cpu", ())[-CPU_KEPT:], [now, share]]
            self.save(server)

    def relabel(
        self, cloud: CloudName, id: int, labels: Mapping[str, str] | None = None, tags: Sequence[str] | None = None
    ) -> None:
        """Replace a machine's labels (Hetzner) or tags (DigitalOcean)."""
        with self.transaction():
            server = self.server(cloud, id)
            if labels is not None:
                server.body["labels"] = dict(labels)
            if tags is not None:
                server.body["tags"] = list(tags)
            self.save(server)

    def rename(self, cloud: CloudName, id: int, name: str) -> None:
        """Give a machine another name."""
        with self.transaction():
            server = self.server(cloud, id)
            server.name = name
            self.save(server)

    def resize(self, cloud: CloudName, id: int, type: str) -> None:
        """Give a machine another type or size."""
        if not type:
            raise ValueError("a machine has a type")
        with self.transaction():
            server = self.server(cloud, id)
            server.body["type"] = type
            self.save(server)

    def add_snapshot(
        self,
        cloud: CloudName,
        description: str,
        *,
        labels: Mapping[str, str] | None = None,
        disk: int = 40,
        architecture: str = "x86",
        regions: Sequence[str] | None = None,
        ready_in: float = 0.0,
        size_gb: float = 2.3,
        source: int | None = None,
    ) -> Thing:
        """A snapshot, available after `ready_in` seconds. Labels are tags `key:value` at DigitalOcean.

        `regions` holds for DigitalOcean alone; None: everywhere.
        """
        with self.transaction() as now:
            body = {
                "labels": dict(labels or {}),
                "tags": [f"{key}:{value}" if value else key for key, value in (labels or {}).items()],
                "disk": disk,
                "architecture": architecture,
                "regions": None if regions is None else list(regions),
                "available_at": now + ready_in,
                "size_gb": size_gb,
                "source": source,
            }
            return self.add(cloud, "snapshot", description, body)

    def remove_snapshot(self, cloud: CloudName, id: int) -> None:
        """Delete a snapshot; LookupError if there is none."""
        with self.transaction():
            found = self.get(cloud, "snapshot", id)
            if found is None:
                raise LookupError(f"no snapshot {id} at {cloud}")
            self.remove(found)

    def add_ssh_key(self, cloud: CloudName, name: str, public_key: str) -> Thing:
        """An SSH key."""
        fingerprint = fingerprint_of(public_key)
        return self.add(cloud, "ssh_key", name, {"public_key": public_key, "fingerprint": fingerprint, "labels": {}})

    # -----------------------------------------------------------------------------------------
    # The account: quota, capacity, tokens, rate limits

    def quota(self, cloud: CloudName, what: str) -> int:
        """How many `servers`, `primary_ips` or `droplets` the account may have."""
        return int({**_DEFAULT_QUOTA[cloud], **self.setting("quota", {}).get(cloud, {})}[what])

    def set_quota(self, cloud: CloudName, **limits: int) -> None:
        """Change how many the account may have: `servers`, `primary_ips`; `droplets`."""
        if unknown := set(limits) - set(_DEFAULT_QUOTA[cloud]):
            raise ValueError(f"{cloud} has no quota {', '.join(unknown)}: it has {', '.join(_DEFAULT_QUOTA[cloud])}")
        with self.transaction():
            quota = self.setting("quota", {})
            self.set("quota", {**quota, cloud: {**quota.get(cloud, {}), **limits}})

    def set_capacity(self, cloud: CloudName, type: str, location: str, left: int | None) -> None:
        """Let only so many more of a type be made at a location (`*`: any); None: as many as you like."""
        with self.transaction():
            capacity = {**self.setting("capacity", {}), f"{cloud} {type} {location}": left}
            self.set("capacity", {key: value for key, value in capacity.items() if value is not None})

    def _capacity_key(self, cloud: CloudName, type: str, location: str) -> str | None:
        capacity = self.setting("capacity", {})
        pairs = ((type, location), (type, "*"), ("*", location), ("*", "*"))
        keys = (f"{cloud} {kind} {place}" for kind, place in pairs)
        return next((key for key in keys if key in capacity), None)

    def has_capacity(self, cloud: CloudName, type: str, location: str) -> bool:
        """Whether one more of a type can be made at a location now."""
        with self.transaction():
            key = self._capacity_key(cloud, type, location)
            return key is None or self.setting("capacity")[key] > 0

    def take_capacity(self, cloud: CloudName, type: str, location: str) -> bool:
        """Take room for one machine; False if there is none."""
        with self.transaction():
            key = self._capacity_key(cloud, type, location)
            if key is None:
                return True
            capacity = self.setting("capacity")
            if capacity[key] <= 0:
                return False
            self.set("capacity", {**capacity, key: capacity[key] - 1})
            return True

    def deprecate(self, cloud: CloudName, type: str) -> None:
        """Withdraw a type from sale, as of now."""
        with self.transaction() as now:
            self.set("deprecated", {**self.setting("deprecated", {}), f"{cloud} {type}": now})

    def deprecated_since(self, cloud: CloudName, type: str) -> float | None:
        """When a type was withdrawn from sale, if it was."""
        moment = self.setting("deprecated", {}).get(f"{cloud} {type}")
        return None if moment is None else float(moment)

    def set_tokens(
        self,
        cloud: CloudName,
        *,
        allowed: Sequence[str] | None = None,
        revoked: bool = False,
        readonly: bool = False,
    ) -> None:
        """Which tokens work: only those `allowed` (None: any well-formed one), none if `revoked`."""
        hashes = None if allowed is None else [token_hash(token) for token in allowed]
        with self.transaction():
            state = {"allowed": hashes, "revoked": revoked, "readonly": readonly}
            self.set("tokens", {**self.setting("tokens", {}), cloud: state})

    def token_accepted(self, cloud: CloudName, token: str) -> bool:
        """Whether a token works."""
        state = self.setting("tokens", {}).get(cloud, {})
        allowed = state.get("allowed")
        return not state.get("revoked") and (allowed is None or token_hash(token) in allowed)

    def token_readonly(self, cloud: CloudName) -> bool:
        """Whether tokens may only read."""
        return bool(self.setting("tokens", {}).get(cloud, {}).get("readonly"))

    def set_rate_limit(self, cloud: CloudName, **limits: int) -> None:
        """Change the limits: `per_hour`, and `per_minute` at DigitalOcean. The counting starts anew."""
        if not all(isinstance(limit, int) and limit >= 0 for limit in limits.values()):
            raise ValueError("a limit is a whole number")
        with self.transaction():
            self.set("rates", {**self.setting("rates", {}), cloud: {**_DEFAULT_RATES[cloud], **limits}})
            self.set("bucket", None)
            self._db.execute("DELETE FROM hits WHERE cloud = ?", (cloud,))

    def take_request(self, cloud: CloudName) -> LimitVerdict:
        """Count a request against the vendor's rate limit."""
        limits = self.setting("rates", {}).get(cloud, _DEFAULT_RATES[cloud])
        with self.transaction() as now:
            return self._take_token(limits, now) if cloud == "hetzner" else self._take_hit(cloud, limits, now)

    def _take_token(self, limits: Mapping[str, int], now: float) -> LimitVerdict:
        per_hour = limits["per_hour"]
        level, at = self.setting("bucket") or (per_hour, now)
        verdict, bucket = Bucket(per_hour, level, at).take(now)
        self.set("bucket", [bucket.level, bucket.at])
        return verdict

    def _take_hit(self, cloud: CloudName, limits: Mapping[str, int], now: float) -> LimitVerdict:
        rows = self._db.execute("SELECT second, count FROM hits WHERE cloud = ? AND second > ?", (cloud, now - 3600))
        verdict = sliding(dict(rows.fetchall()), now, per_hour=limits["per_hour"], per_minute=limits["per_minute"])
        if verdict.allowed:
            self._db.execute(
                "INSERT INTO hits VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1", (cloud, int(now))
            )
            self._db.execute("DELETE FROM hits WHERE cloud = ? AND second <= ?", (cloud, now - 3600))
        return verdict

    # -----------------------------------------------------------------------------------------
    # Faults

    def add_fault(
        self,
        effect: str,
        *,
        method: str = ".*",
        path: str = "",
        body: Any = None,
        skip: int = 0,
        times: int | None = 1,
        **parameters: Any,
    ) -> int:
        """Order a failure; returns the rule's id. The effects are in `faults`, their parameters follow.

        `world.add_fault("respond", method="POST", path="/servers$", status=503, code="unavailable")`
        """
        return self.add_rule(
            Rule(effect=Effect(effect, parameters), method=method, path=path, body=body, skip=skip, times=times)
        )

    def add_rule(self, rule: Rule) -> int:
        """Order a failure; returns the rule's id."""
        with self.transaction():
            cursor = self._db.execute("INSERT INTO faults (rule) VALUES (?)", (json.dumps(rule.to_json()),))
            return cursor.lastrowid or 0

    def faults(self) -> list[FaultReport]:
        """All rules and how often each has fired."""
        with self.transaction():
            rows = self._db.execute("SELECT id, rule, seen, fired FROM faults ORDER BY id").fetchall()
        return [FaultReport(number, Rule.from_json(json.loads(rule)), *counts) for number, rule, *counts in rows]

    def fired(self, id: int) -> int:
        """How many requests a rule has hit."""
        return next(report.fired for report in self.faults() if report.id == id)

    def clear_faults(self, id: int | None = None) -> None:
        """Drop one rule, or all."""
        with self.transaction():
            self._db.execute("DELETE FROM faults WHERE ? IS NULL OR id = ?", (id, id))

    def hit(self, method: str, path: str, body: Any) -> list[Effect]:
        """The effects that hit a request; each rule counts it."""
        effects = []
        with self.transaction():
            for report in self.faults():
                rule = report.rule
                used_up = rule.times is not None and report.fired >= rule.times
                if used_up or not rule.matches(method, path, body):
                    continue
                fires = report.seen >= rule.skip
                self._db.execute(
                    "UPDATE faults SET seen = seen + 1, fired = fired + ? WHERE id = ?", (int(fires), report.id)
                )
                if fires:
                    effects.append(rule.effect)
        return effects

    def apply(self, cloud: CloudName, effect: Effect) -> None:
        """Carry out an effect that changes the world."""
        match effect.kind:
            case "capacity":
                left = effect.get("left", 0)
                self.set_capacity(cloud, effect.get("type", "*"), effect.get("location", "*"), left)
            case "quota":
                self.set_quota(cloud, **effect.parameters)
            case "deprecate":
                self.deprecate(cloud, effect.get("type"))
            case "token_revoked":
                self.set_tokens(cloud, revoked=True)
            case "token_readonly":
                self.set_tokens(cloud, readonly=True)
