BEGIN TRANSACTION;
CREATE TABLE faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
    fired INTEGER NOT NULL DEFAULT 0);
CREATE TABLE hits (cloud TEXT NOT NULL, second INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (cloud, second))
    WITHOUT ROWID;
INSERT INTO "hits" VALUES('digitalocean',1795676161,5);
INSERT INTO "hits" VALUES('digitalocean',1795676164,4);
INSERT INTO "hits" VALUES('digitalocean',1795676165,1);
INSERT INTO "hits" VALUES('digitalocean',1795676166,1);
INSERT INTO "hits" VALUES('digitalocean',1795676167,1);
INSERT INTO "hits" VALUES('digitalocean',1795676168,2);
INSERT INTO "hits" VALUES('digitalocean',1795676169,1);
CREATE TABLE log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, cloud TEXT NOT NULL, method TEXT NOT NULL,
    path TEXT NOT NULL, query TEXT NOT NULL, body TEXT, status INTEGER, effects TEXT NOT NULL, agent TEXT NOT NULL);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE things (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cloud TEXT NOT NULL, kind TEXT NOT NULL, name TEXT,
    parent INTEGER, created REAL NOT NULL, gone REAL, body TEXT NOT NULL);
INSERT INTO "things" VALUES(4000001,'hetzner','ssh_key','deploy',NULL,1.79567616038089704517e+09,NULL,'{"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKey deploy", "fingerprint": "40:6f:84:e9:34:02:7b:53:41:69:1a:53:41:c6:3c:6d", "labels": {}}');
INSERT INTO "things" VALUES(4000002,'digitalocean','ssh_key','deploy',NULL,1.79567616038089704517e+09,NULL,'{"public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEmbeddedCloudDeployKey deploy", "fingerprint": "40:6f:84:e9:34:02:7b:53:41:69:1a:53:41:c6:3c:6d", "labels": {}}');
INSERT INTO "things" VALUES(4000003,'hetzner','snapshot','worker-golden',NULL,1.79567616038089704517e+09,NULL,'{"labels": {"role": "worker"}, "tags": ["role:worker"], "disk": 40, "architecture": "x86", "regions": null, "available_at": 1795676160.380897, "size_gb": 2.3, "source": null}');
INSERT INTO "things" VALUES(4000004,'digitalocean','snapshot','worker-golden',NULL,1.79567616038089704517e+09,NULL,'{"labels": {"role": "worker"}, "tags": ["role:worker"], "disk": 25, "architecture": "x86", "regions": ["fra1", "nyc3", "ams3"], "available_at": 1795676160.380897, "size_gb": 2.3, "source": null}');
INSERT INTO "things" VALUES(4000005,'digitalocean','tag','scaler',NULL,1.79567616426159405709e+09,NULL,'{}');
INSERT INTO "things" VALUES(4000006,'digitalocean','tag','scaler-group:worker',NULL,1.79567616426159405709e+09,NULL,'{}');
INSERT INTO "things" VALUES(4000007,'digitalocean','tag','scaler-project:scaler',NULL,1.79567616426159405709e+09,NULL,'{}');
INSERT INTO "things" VALUES(4000008,'digitalocean','tag','scaler-stack:demo',NULL,1.79567616426159405709e+09,NULL,'{}');
INSERT INTO "things" VALUES(4000009,'digitalocean','tag','scaler-template:181a7158',NULL,1.79567616426159405709e+09,NULL,'{}');
INSERT INTO "things" VALUES(4000010,'digitalocean','server','demo-worker-1',NULL,1.79567616426159405709e+09,NULL,'{"type": "s-1vcpu-1gb", "location": "fra1", "image": 4000004, "disk": 25, "labels": {}, "tags": ["scaler", "scaler-group:worker", "scaler-project:scaler", "scaler-stack:demo", "scaler-template:181a7158"], "features": ["droplet_agent", "private_networking"], "vpc": "8acd6ed1-2745-5e70-9ce3-9ba7ad48ae6b", "ssh_keys": [4000002], "user_data": "#cloud-config\n# of an older version\n", "timeline": [[1795676164.261594, "new"], [1795676167.9420774, "active"]], "busy_until": 1795676167.9420774}');
INSERT INTO "things" VALUES(4000011,'digitalocean','action','create',4000010,1.79567616426159405709e+09,NULL,'{"finishes": 1795676167.9420774, "error": false, "resource_type": "droplet", "region": "fra1"}');
INSERT INTO "things" VALUES(4000012,'digitalocean','server','demo-worker-2',NULL,1.79567616427049183847e+09,NULL,'{"type": "s-1vcpu-1gb", "location": "fra1", "image": 4000004, "disk": 25, "labels": {}, "tags": ["scaler", "scaler-group:worker", "scaler-project:scaler", "scaler-stack:demo", "scaler-template:181a7158"], "features": ["droplet_agent", "private_networking"], "vpc": "8acd6ed1-2745-5e70-9ce3-9ba7ad48ae6b", "ssh_keys": [4000002], "user_data": "#cloud-config\n# of an older version\n", "timeline": [[1795676164.2704918, "new"], [1795676167.226957, "active"]], "busy_until": 1795676167.226957}');
INSERT INTO "things" VALUES(4000013,'digitalocean','action','create',4000012,1.79567616427049183847e+09,NULL,'{"finishes": 1795676167.226957, "error": false, "resource_type": "droplet", "region": "fra1"}');
CREATE INDEX things_by_kind ON things (cloud, kind, name);
CREATE INDEX things_by_parent ON things (parent, kind);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('things',4000013);
INSERT INTO "sqlite_sequence" VALUES('log',15);
COMMIT;
PRAGMA user_version = 1;
