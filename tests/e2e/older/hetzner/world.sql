BEGIN TRANSACTION;
CREATE TABLE faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
    fired INTEGER NOT NULL DEFAULT 0);
CREATE TABLE hits (cloud TEXT NOT NULL, second INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (cloud, second))
    WITHOUT ROWID;
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, cloud TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, body TEXT, status INTEGER, effects TEXT NOT NULL, agent TEXT NOT NULL);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "settings" VALUES('bucket','[3591.654215812683, 1795676158.7815735]');
CREATE TABLE things (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cloud TEXT NOT NULL, kind TEXT NOT NULL, name TEXT,
    parent INTEGER, created REAL NOT NULL, gone REAL, body TEXT NOT NULL);
INSERT INTO "things" VALUES(4000001,'hetzner','ssh_key','deploy',NULL,1.79567615174147462847e+09,NULL,'{"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKey deploy", "fingerprint": "40:6f:84:e9:34:02:7b:53:41:69:1a:53:41:c6:3c:6d", "labels": {}}');
INSERT INTO "things" VALUES(4000002,'digitalocean','ssh_key','deploy',NULL,1.79567615174147462847e+09,NULL,'{"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKey deploy", "fingerprint": "40:6f:84:e9:34:02:7b:53:41:69:1a:53:41:c6:3c:6d", "labels": {}}');
INSERT INTO "things" VALUES(4000003,'hetzner','snapshot','worker-golden',NULL,1.79567615174147462847e+09,NULL,'{"labels": {"role": "worker"}, "tags": ["role:worker"], "disk": 40, "architecture": "x86", "regions": null, "available_at": 1795676151.7414746, "size_gb": 2.3, "source": null}');
INSERT INTO "things" VALUES(4000004,'digitalocean','snapshot','worker-golden',NULL,1.79567615174147462847e+09,NULL,'{"labels": {"role": "worker"}, "tags": ["role:worker"], "disk": 25, "architecture": "x86", "regions": ["fra1", "nyc3", "ams3"], "available_at": 1795676151.7414746, "size_gb": 2.3, "source": null}');
INSERT INTO "things" VALUES(4000005,'hetzner','server','demo-worker-2',NULL,1.79567615391631937027e+09,NULL,'{"type": "cx23", "location": "fsn1", "image": 4000003, "labels": {"managed-by": "scaler", "scaler-stack": "demo", "scaler-template": "181a7158", "scaler-project": "scaler", "scaler-group": "worker"}, "tags": [], "disk": 40, "user_data": "#cloud-config\n# of an older version\n", "ssh_keys": [4000001], "firewalls": [], "placement_group": null, "private_net": [], "timeline": [[1795676153.9163194, "initializing"], [1795676156.1336682, "starting"], [1795676156.8727846, "running"]], "busy_until": 1795676156.8727846, "ipv4": {"id": 4000006, "ip": "127.189.9.6"}, "ipv6": {"id": 4000007, "ip": "2001:db8:3d:907::/64"}}');
INSERT INTO "things" VALUES(4000006,'hetzner','primary_ip','primary_ip-4000006',4000005,1.79567615391631937027e+09,NULL,'{"type": "ipv4", "ip": "127.189.9.6", "auto_delete": true, "location": "fsn1", "labels": {}}');
INSERT INTO "things" VALUES(4000007,'hetzner','primary_ip','primary_ip-4000007',4000005,1.79567615391631937027e+09,NULL,'{"type": "ipv6", "ip": "2001:db8:3d:907::/64", "auto_delete": true, "location": "fsn1", "labels": {}}');
INSERT INTO "things" VALUES(4000008,'hetzner','action','create_server',4000005,1.79567615391631937027e+09,NULL,'{"finishes": 1795676156.1336682, "resources": [{"id": 4000005, "type": "server"}], "error": null}');
INSERT INTO "things" VALUES(4000009,'hetzner','action','start_server',4000005,1.79567615391631937027e+09,NULL,'{"finishes": 1795676156.8727846, "resources": [{"id": 4000005, "type": "server"}], "error": null}');
INSERT INTO "things" VALUES(4000010,'hetzner','server','demo-worker-1',NULL,1.79567615391809058192e+09,NULL,'{"type": "cx23", "location": "fsn1", "image": 4000003, "labels": {"managed-by": "scaler", "scaler-stack": "demo", "scaler-template": "181a7158", "scaler-project": "scaler", "scaler-group": "worker"}, "tags": [], "disk": 40, "user_data": "#cloud-config\n# of an older version\n", "ssh_keys": [4000001], "firewalls": [], "placement_group": null, "private_net": [], "timeline": [[1795676153.9180906, "initializing"], [1795676156.678453, "starting"], [1795676157.598574, "running"]], "busy_until": 1795676157.598574, "ipv4": {"id": 4000011, "ip": "127.189.9.11"}, "ipv6": {"id": 4000012, "ip": "2001:db8:3d:90c::/64"}}');
INSERT INTO "things" VALUES(4000011,'hetzner','primary_ip','primary_ip-4000011',4000010,1.79567615391809058192e+09,NULL,'{"type": "ipv4", "ip": "127.189.9.11", "auto_delete": true, "location": "fsn1", "labels": {}}');
INSERT INTO "things" VALUES(4000012,'hetzner','primary_ip','primary_ip-4000012',4000010,1.79567615391809058192e+09,NULL,'{"type": "ipv6", "ip": "2001:db8:3d:90c::/64", "auto_delete": true, "location": "fsn1", "labels": {}}');
INSERT INTO "things" VALUES(4000013,'hetzner','action','create_server',4000010,1.79567615391809058192e+09,NULL,'{"finishes": 1795676156.678453, "resources": [{"id": 4000010, "type": "server"}], "error": null}');
INSERT INTO "things" VALUES(4000014,'hetzner','action','start_server',4000010,1.79567615391809058192e+09,NULL,'{"finishes": 1795676157.598574, "resources": [{"id": 4000010, "type": "server"}], "error": null}');
CREATE INDEX things_by_kind ON things (cloud, kind, name);
CREATE INDEX things_by_parent ON things (parent, kind);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('things',4000014);
INSERT INTO "sqlite_sequence" VALUES('log',15);
COMMIT;
PRAGMA user_version = 1;
