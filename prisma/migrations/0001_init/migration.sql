-- femtopki, first migration. Conventions: timestamptz in UTC; text states with a CHECK that a later migration may widen
-- (no enum types); certificates are referenced by value (issuer_id, serial), never by foreign key, because they live in
-- partitions that are dropped; `maker_id` is NOT NULL wherever a maker's data is kept (ADM-4).

-- ---------------------------------------------------------------------------------------------- installation
CREATE TABLE installation (
  id               smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  installation_id  text NOT NULL,
  operator         text NOT NULL,
  realm            text NOT NULL,
  mode             text NOT NULL CHECK (mode IN ('demo', 'production')),
  epoch            integer NOT NULL DEFAULT 1,
  admission_frozen boolean NOT NULL DEFAULT false,
  issuing_stopped  text,
  created_at       timestamptz NOT NULL
);

CREATE TABLE issuer (
  id              smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  label           text NOT NULL UNIQUE,
  kind            text NOT NULL CHECK (kind IN ('root-access','root-bootstrap','root-services','device-ca','bootstrap-ca','services-ca')),
  state           text NOT NULL CHECK (state IN ('active','spare','retired','offline')),
  key_label       text NOT NULL,
  parent_label    text,
  certificate_der bytea NOT NULL,
  subject_der     bytea NOT NULL UNIQUE,
  key_identifier  bytea NOT NULL UNIQUE,
  spki_hash       bytea NOT NULL UNIQUE,
  not_after       timestamptz NOT NULL,
  crl_number_last bigint NOT NULL DEFAULT 0
);

CREATE TABLE ocsp_signer (
  issuer_id       smallint NOT NULL REFERENCES issuer(id),
  not_before      timestamptz NOT NULL,
  not_after       timestamptz NOT NULL,
  key_label       text NOT NULL,
  certificate_der bytea NOT NULL,
  PRIMARY KEY (issuer_id, not_before)
);

CREATE TABLE lease (
  name       text PRIMARY KEY,
  holder     text NOT NULL,
  fence      bigint NOT NULL,
  expires_at timestamptz NOT NULL
);

CREATE TABLE heartbeat (
  id    smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
  epoch integer NOT NULL,
  at    timestamptz NOT NULL
);

-- ---------------------------------------------------------------------------------------------- people and machines
CREATE TABLE person (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text NOT NULL UNIQUE,
  role        text NOT NULL CHECK (role IN ('operator','approver','auditor','maker-admin')),
  maker_id    integer,
  public_key_spki bytea,
  state       text NOT NULL DEFAULT 'active' CHECK (state IN ('invited','active','disabled')),
  created_at  timestamptz NOT NULL
);

CREATE TABLE access_token (
  token_hash  bytea PRIMARY KEY,
  person_id   integer NOT NULL REFERENCES person(id),
  purpose     text NOT NULL CHECK (purpose IN ('cli','sign-in-link','session')),
  created_at  timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL,
  spent_at    timestamptz
);

CREATE TABLE approval (
  id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind             text NOT NULL,
  request          text NOT NULL,
  request_hash     bytea NOT NULL,
  selection_count  integer NOT NULL,
  requested_by     integer NOT NULL REFERENCES person(id),
  request_signature bytea NOT NULL,
  approved_by      integer REFERENCES person(id),
  approval_signature bytea,
  state            text NOT NULL CHECK (state IN ('open','approved','executed','expired','withdrawn')),
  created_at       timestamptz NOT NULL,
  expires_at       timestamptz NOT NULL,
  executed_at      timestamptz,
  CHECK (approved_by IS NULL OR approved_by <> requested_by)
);

CREATE TABLE restriction_use (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  person_id integer NOT NULL REFERENCES person(id),
  at        timestamptz NOT NULL,
  units     integer NOT NULL,
  what      text NOT NULL
);
CREATE INDEX restriction_use_person_at ON restriction_use (person_id, at);

CREATE TABLE maker (
  id                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name              text NOT NULL UNIQUE,
  manifest_key_spki bytea NOT NULL,
  eui_prefixes      text[] NOT NULL,
  state             text NOT NULL DEFAULT 'active' CHECK (state IN ('active','frozen')),
  created_at        timestamptz NOT NULL
);
ALTER TABLE person ADD FOREIGN KEY (maker_id) REFERENCES maker(id);

-- A machine that holds (or asks for) a Services certificate: stations, gateways, servers, decision and time keys.
CREATE TABLE machine (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind          text NOT NULL CHECK (kind IN ('gateway','station','server','operator','decision','time')),
  name          text NOT NULL UNIQUE,
  maker_id      integer REFERENCES maker(id),
  dns_name      text,
  state         text NOT NULL CHECK (state IN ('requested','approved','disabled')),
  spki_der      bytea NOT NULL,
  spki_hash     bytea NOT NULL UNIQUE,
  requested_by  text NOT NULL,
  approved_by   integer REFERENCES person(id),
  created_at    timestamptz NOT NULL,
  approved_at   timestamptz,
  issuer_id     smallint,
  serial        bytea,
  not_after     timestamptz,
  renew_requested_at timestamptz
);

-- ---------------------------------------------------------------------------------------------- registry
CREATE TABLE profile (
  name          text PRIMARY KEY,
  life_seconds  integer NOT NULL CHECK (life_seconds > 0),
  renewal_mode  text NOT NULL CHECK (renewal_mode IN ('rekey','preissue')),
  comeback_days integer NOT NULL DEFAULT 30
);
INSERT INTO profile (name, life_seconds, renewal_mode) VALUES
  ('operational-24h', 86400, 'rekey'), ('operational-7d', 604800, 'rekey'),
  ('operational-30d', 2592000, 'rekey'), ('operational-7d-preissue', 604800, 'preissue');

CREATE TABLE batch (
  id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  maker_id        integer NOT NULL REFERENCES maker(id),
  name            text NOT NULL,
  model           text NOT NULL,
  firmware_sha256 text NOT NULL,
  state           text NOT NULL CHECK (state IN ('submitted','open','closed')),
  manifest_sha256 bytea NOT NULL UNIQUE,
  manifest_jws    text NOT NULL,
  unit_count      integer NOT NULL,
  submitted_at    timestamptz NOT NULL,
  accepted_at     timestamptz,
  closed_at       timestamptz,
  UNIQUE (maker_id, name)
);

CREATE TABLE line (
  id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name       text NOT NULL UNIQUE,
  region     text NOT NULL DEFAULT ''
);

-- The operator's own table: which access line an address belongs to, and when (rules 5.5).
CREATE TABLE line_prefix (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  prefix        cidr NOT NULL,
  line_id       integer NOT NULL REFERENCES line(id),
  authoritative boolean NOT NULL DEFAULT true,
  valid_from    timestamptz NOT NULL,
  valid_to      timestamptz,
  UNIQUE (prefix, valid_from)
);
CREATE INDEX line_prefix_lookup ON line_prefix USING gist (prefix inet_ops);

CREATE TABLE unit (
  id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  maker_id         integer NOT NULL REFERENCES maker(id),
  batch_id         integer NOT NULL REFERENCES batch(id),
  serial_number    text NOT NULL UNIQUE,
  eui              text NOT NULL UNIQUE,
  product_class    text NOT NULL DEFAULT '',
  hardware_id      text NOT NULL,
  fqdn             text NOT NULL UNIQUE,
  model            text NOT NULL,
  profile          text NOT NULL DEFAULT 'operational-7d' REFERENCES profile(name),
  state            text NOT NULL CHECK (state IN ('MANIFESTED','BOOTSTRAPPED','ACTIVE','DORMANT','SUSPENDED','QUARANTINED','LOST','RETIRED')),
  state_reason     text NOT NULL DEFAULT '',
  state_changed_at timestamptz NOT NULL,
  revocation_epoch integer NOT NULL DEFAULT 0,
  rework_allowed   boolean NOT NULL DEFAULT false,
  key_protection   text NOT NULL DEFAULT 'unknown' CHECK (key_protection IN ('attested-hardware','declared-hardware','file','unknown')),
  vendor_spki_hash bytea,
  line_id          integer UNIQUE REFERENCES line(id),
  last_contact_at  timestamptz,
  UNIQUE (product_class, hardware_id)
);
CREATE INDEX unit_batch ON unit (batch_id);
CREATE INDEX unit_state_contact ON unit (state, last_contact_at);

CREATE TABLE unit_history (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id    integer NOT NULL REFERENCES unit(id),
  from_state text NOT NULL,
  to_state   text NOT NULL,
  actor      text NOT NULL,
  reason     text NOT NULL,
  evidence   text,
  at         timestamptz NOT NULL
);
CREATE INDEX unit_history_unit ON unit_history (unit_id, id);

CREATE TABLE cell (
  id            text PRIMARY KEY,
  unit_id       integer UNIQUE REFERENCES unit(id),
  segw_address  text NOT NULL DEFAULT ''
);

CREATE TABLE binding_history (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id integer NOT NULL REFERENCES unit(id),
  what    text NOT NULL CHECK (what IN ('line','cell')),
  value   text NOT NULL,
  action  text NOT NULL CHECK (action IN ('bound','released')),
  actor   text NOT NULL,
  at      timestamptz NOT NULL
);

-- ---------------------------------------------------------------------------------------------- factory
CREATE TABLE factory_credential (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  maker_id    integer NOT NULL REFERENCES maker(id),
  batch_id    integer NOT NULL REFERENCES batch(id),
  name        text NOT NULL UNIQUE,
  site        text NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('mtls','token')),
  spki_hash   bytea NOT NULL,
  token_spki_der bytea,
  cidrs       cidr[] NOT NULL CHECK (cardinality(cidrs) > 0),
  hour_from   smallint NOT NULL DEFAULT 0,
  hour_to     smallint NOT NULL DEFAULT 24,
  quota       integer NOT NULL CHECK (quota >= 0),
  used        integer NOT NULL DEFAULT 0 CHECK (used <= quota),
  violations  integer NOT NULL DEFAULT 0,
  state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active','frozen','revoked')),
  not_before  timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL,
  created_by  text NOT NULL
);
CREATE INDEX factory_credential_spki ON factory_credential (spki_hash);

-- ---------------------------------------------------------------------------------------------- enrolment
CREATE TABLE activation_grant (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id     integer NOT NULL REFERENCES unit(id),
  kind        text NOT NULL CHECK (kind IN ('code','order')),
  code_hash   bytea,
  code_salt   bytea,
  line_id     integer NOT NULL REFERENCES line(id),
  state       text NOT NULL CHECK (state IN ('open','spent','locked','withdrawn')),
  tries       smallint NOT NULL DEFAULT 0,
  created_by  text NOT NULL,
  approved_by text,
  created_at  timestamptz NOT NULL,
  expires_at  timestamptz NOT NULL,
  spent_at    timestamptz,
  spent_attempt uuid
);
CREATE UNIQUE INDEX activation_grant_one_open ON activation_grant (unit_id) WHERE state = 'open';

CREATE TABLE nonce_spent (
  nonce_hash bytea PRIMARY KEY,
  expires_at timestamptz NOT NULL
);
CREATE INDEX nonce_spent_expiry ON nonce_spent (expires_at);

CREATE TABLE idempotency (
  credential   bytea NOT NULL,
  operation    text NOT NULL,
  key          text NOT NULL,
  request_hash bytea NOT NULL,
  attempt_id   uuid,
  created_at   timestamptz NOT NULL,
  PRIMARY KEY (credential, operation, key)
);
CREATE INDEX idempotency_created ON idempotency (created_at);

CREATE TABLE refusal_count (
  source_prefix text NOT NULL,
  code          text NOT NULL,
  minute        timestamptz NOT NULL,
  count         bigint NOT NULL,
  sample        text NOT NULL DEFAULT '',
  PRIMARY KEY (minute, source_prefix, code)
);

-- ---------------------------------------------------------------------------------------------- lineage
CREATE TABLE lineage (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id         integer NOT NULL REFERENCES unit(id),
  state           text NOT NULL CHECK (state IN ('open','quarantined','closed')),
  opened_at       timestamptz NOT NULL,
  closed_at       timestamptz,
  close_reason    text,
  token_hash      bytea,
  last_soft_at    timestamptz
);
CREATE UNIQUE INDEX lineage_one_live ON lineage (unit_id) WHERE state <> 'closed';

CREATE TABLE lineage_slot (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  lineage_id     bigint NOT NULL REFERENCES lineage(id),
  unit_id        integer NOT NULL,
  generation     integer NOT NULL CHECK (generation >= 1),
  state          text NOT NULL CHECK (state IN ('signing','abandoned','pending','confirmed','displaced')),
  spki_hash      bytea NOT NULL,
  issuer_id      smallint NOT NULL,
  serial         bytea NOT NULL,
  not_before     timestamptz NOT NULL,
  not_after      timestamptz NOT NULL,
  attempt_id     uuid NOT NULL,
  preissued      boolean NOT NULL DEFAULT false,
  renew_from     timestamptz NOT NULL,
  renew_until    timestamptz NOT NULL,
  created_at     timestamptz NOT NULL,
  confirmed_at   timestamptz,
  confirmed_by   text,
  displaced_at   timestamptz,
  last_used_at   timestamptz,
  line_id        integer
);
-- Two servers can never both win a generation, whatever they believe (rules 4).
CREATE UNIQUE INDEX lineage_slot_taken ON lineage_slot (lineage_id, generation) WHERE state IN ('signing','pending','confirmed');
CREATE UNIQUE INDEX lineage_slot_serial ON lineage_slot (issuer_id, serial);
CREATE INDEX lineage_slot_lineage ON lineage_slot (lineage_id, generation DESC);
CREATE INDEX lineage_slot_spki ON lineage_slot (spki_hash);
CREATE INDEX lineage_slot_due ON lineage_slot (renew_from) WHERE state IN ('pending','confirmed');

-- ---------------------------------------------------------------------------------------------- issuance
CREATE TABLE key_seen (
  spki_hash     bytea NOT NULL,
  unit_id       integer,
  owner_kind    text NOT NULL,
  owner_name    text NOT NULL,
  attempt_id    uuid NOT NULL,
  first_seen_at timestamptz NOT NULL,
  PRIMARY KEY (spki_hash)
) PARTITION BY HASH (spki_hash);
DO $$ BEGIN
  FOR i IN 0..15 LOOP
    EXECUTE format('CREATE TABLE key_seen_p%s PARTITION OF key_seen FOR VALUES WITH (MODULUS 16, REMAINDER %s)', i, i);
  END LOOP;
END $$;

CREATE TABLE blocked_key (
  spki_hash bytea PRIMARY KEY,
  reason    text NOT NULL,
  source    text NOT NULL,
  at        timestamptz NOT NULL
);

CREATE TABLE issuance_intent (
  attempt_id       uuid NOT NULL,
  created_at       timestamptz NOT NULL,
  issuer_id        smallint NOT NULL,
  serial           bytea NOT NULL,
  purpose          text NOT NULL,
  unit_id          integer,
  machine_id       integer,
  spki_hash        bytea NOT NULL,
  not_after        timestamptz NOT NULL,
  tbs              bytea NOT NULL,
  tbs_hash         bytea NOT NULL,
  slot_id          bigint,
  revocation_epoch integer NOT NULL,
  state            text NOT NULL CHECK (state IN ('signing','issued','abandoned')),
  decided_at       timestamptz,
  PRIMARY KEY (created_at, attempt_id)
) PARTITION BY RANGE (created_at);

CREATE TABLE certificate (
  not_after   timestamptz NOT NULL,
  issuer_id   smallint NOT NULL,
  serial      bytea NOT NULL,
  purpose     text NOT NULL,
  unit_id     integer,
  machine_id  integer,
  slot_id     bigint,
  generation  integer,
  spki_hash   bytea NOT NULL,
  not_before  timestamptz NOT NULL,
  attempt_id  uuid NOT NULL,
  issued_at   timestamptz NOT NULL,
  der         bytea NOT NULL,
  PRIMARY KEY (not_after, issuer_id, serial)
) PARTITION BY RANGE (not_after);

-- Months as partitions; the unique index stands on each partition because a parent index would need the range column.
CREATE FUNCTION ensure_partitions(from_month timestamptz, months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE lo timestamptz; hi timestamptz; suffix text; m integer;
BEGIN
  PERFORM pg_advisory_xact_lock(740001);
  FOR m IN 0..months - 1 LOOP
    lo := (date_trunc('month', from_month AT TIME ZONE 'UTC') + make_interval(months => m)) AT TIME ZONE 'UTC';
    hi := (date_trunc('month', from_month AT TIME ZONE 'UTC') + make_interval(months => m + 1)) AT TIME ZONE 'UTC';
    suffix := to_char(lo AT TIME ZONE 'UTC', 'YYYYMM');
    IF to_regclass('certificate_' || suffix) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF certificate FOR VALUES FROM (%L) TO (%L)', 'certificate_' || suffix, lo, hi);
      EXECUTE format('CREATE UNIQUE INDEX %I ON %I (issuer_id, serial)', 'certificate_' || suffix || '_serial', 'certificate_' || suffix);
      EXECUTE format('CREATE INDEX %I ON %I (spki_hash)', 'certificate_' || suffix || '_spki', 'certificate_' || suffix);
      EXECUTE format('CREATE INDEX %I ON %I (unit_id)', 'certificate_' || suffix || '_unit', 'certificate_' || suffix);
    END IF;
    IF to_regclass('issuance_intent_' || suffix) IS NULL THEN
      EXECUTE format('CREATE TABLE %I PARTITION OF issuance_intent FOR VALUES FROM (%L) TO (%L)', 'issuance_intent_' || suffix, lo, hi);
      EXECUTE format('CREATE UNIQUE INDEX %I ON %I (issuer_id, serial)', 'issuance_intent_' || suffix || '_serial', 'issuance_intent_' || suffix);
      EXECUTE format('CREATE UNIQUE INDEX %I ON %I (attempt_id)', 'issuance_intent_' || suffix || '_attempt', 'issuance_intent_' || suffix);
      EXECUTE format('CREATE INDEX %I ON %I (created_at) WHERE state = ''signing''', 'issuance_intent_' || suffix || '_open', 'issuance_intent_' || suffix);
    END IF;
  END LOOP;
END $$;
CREATE TABLE certificate_default PARTITION OF certificate DEFAULT;
CREATE UNIQUE INDEX certificate_default_serial ON certificate_default (issuer_id, serial);
CREATE TABLE issuance_intent_default PARTITION OF issuance_intent DEFAULT;
CREATE UNIQUE INDEX issuance_intent_default_serial ON issuance_intent_default (issuer_id, serial);
SELECT ensure_partitions(now() - interval '1 month', 42);

-- ---------------------------------------------------------------------------------------------- revocation and status
CREATE TABLE revoked_certificate (
  issuer_id   smallint NOT NULL,
  serial      bytea NOT NULL,
  not_after   timestamptz NOT NULL,
  unit_id     integer,
  state       text NOT NULL CHECK (state IN ('held','revoked','released')),
  reason      smallint NOT NULL,
  revoked_at  timestamptz NOT NULL,
  entry_der   bytea NOT NULL,
  changed_at  timestamptz NOT NULL,
  PRIMARY KEY (issuer_id, serial)
);
CREATE INDEX revoked_certificate_unit ON revoked_certificate (unit_id);
CREATE INDEX revoked_certificate_listed ON revoked_certificate (issuer_id, not_after) WHERE state <> 'released';

CREATE TABLE crl_dirty (
  issuer_id smallint PRIMARY KEY REFERENCES issuer(id),
  since     timestamptz NOT NULL
);

CREATE TABLE crl (
  issuer_id    smallint NOT NULL REFERENCES issuer(id),
  number       bigint NOT NULL,
  this_update  timestamptz NOT NULL,
  next_update  timestamptz NOT NULL,
  entry_count  integer NOT NULL,
  sha256       bytea NOT NULL,
  der          bytea NOT NULL,
  fence        bigint NOT NULL,
  published_at timestamptz,
  PRIMARY KEY (issuer_id, number)
);
-- Two publishers can never go back: the number must exceed the last one, whoever holds the lease (fault S2).
CREATE FUNCTION crl_number_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE issuer SET crl_number_last = NEW.number WHERE id = NEW.issuer_id AND crl_number_last < NEW.number;
  IF NOT FOUND THEN RAISE EXCEPTION 'CRL number % does not rise', NEW.number USING ERRCODE = '23514'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER crl_number_rises BEFORE INSERT ON crl FOR EACH ROW EXECUTE FUNCTION crl_number_rises();

-- ---------------------------------------------------------------------------------------------- ledger
-- Transactions append here, unordered; the sequencer alone numbers what is committed (rules 7.1).
CREATE TABLE ledger_inbox (
  id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind    text NOT NULL,
  subject text NOT NULL,
  at      timestamptz NOT NULL,
  body    text NOT NULL
);

CREATE TABLE ledger (
  epoch     integer NOT NULL,
  seq       bigint NOT NULL,
  kind      text NOT NULL,
  subject   text NOT NULL,
  at        timestamptz NOT NULL,
  body      text NOT NULL,
  prev_hash bytea NOT NULL,
  hash      bytea NOT NULL,
  PRIMARY KEY (epoch, seq),
  UNIQUE (prev_hash)
);
CREATE INDEX ledger_subject ON ledger (subject, seq);

CREATE TABLE ledger_head (
  epoch       integer NOT NULL,
  size        bigint NOT NULL,
  merkle_root bytea NOT NULL,
  chain_hash  bytea NOT NULL,
  at          timestamptz NOT NULL,
  head_text   text NOT NULL,
  signature   bytea NOT NULL,
  anchored_at timestamptz,
  PRIMARY KEY (epoch, size)
);

CREATE TABLE ledger_frontier (
  epoch    integer PRIMARY KEY,
  size     bigint NOT NULL,
  fence    bigint NOT NULL,
  frontier bytea NOT NULL
);

CREATE TABLE ledger_cursor (
  name  text PRIMARY KEY,
  epoch integer NOT NULL,
  seq   bigint NOT NULL
);

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append only' USING ERRCODE = '42501'; END $$;
CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_head_no_delete BEFORE DELETE OR TRUNCATE ON ledger_head FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

-- ---------------------------------------------------------------------------------------------- renewal and jobs
CREATE TABLE renewal_task (
  slot_id     bigint PRIMARY KEY REFERENCES lineage_slot(id),
  unit_id     integer NOT NULL,
  state       text NOT NULL CHECK (state IN ('due','reminded','overdue','preissued','done','dead')),
  opened_at   timestamptz NOT NULL,
  reminded_at timestamptz,
  reminders   integer NOT NULL DEFAULT 0,
  tries       integer NOT NULL DEFAULT 0,
  last_error  text,
  closed_at   timestamptz
);
CREATE INDEX renewal_task_open ON renewal_task (state, opened_at);

CREATE TABLE dead_letter (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue       text NOT NULL,
  job_name    text NOT NULL,
  job_key     text NOT NULL,
  payload     text NOT NULL,
  error       text NOT NULL,
  tries       integer NOT NULL,
  failed_at   timestamptz NOT NULL,
  resolved_at timestamptz
);

-- ---------------------------------------------------------------------------------------------- admission, evidence, incidents
CREATE TABLE decision (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at          timestamptz NOT NULL,
  gateway_id  integer NOT NULL,
  unit_id     integer,
  issuer_id   smallint,
  serial      bytea,
  stage       text NOT NULL,
  key_proved  boolean NOT NULL,
  verdict     text NOT NULL CHECK (verdict IN ('permit','restricted','deny')),
  reasons     text[] NOT NULL,
  address     inet,
  line_id     integer
);
CREATE INDEX decision_unit_at ON decision (unit_id, at);

CREATE TABLE evidence (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL,
  code       text NOT NULL,
  grade      text NOT NULL CHECK (grade IN ('soft','strong','hard')),
  unit_id    integer,
  lineage_id bigint,
  subject    text NOT NULL,
  facts      text NOT NULL,
  case_id    bigint
);
CREATE INDEX evidence_unit ON evidence (unit_id, at);

CREATE TABLE incident_case (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  unit_id         integer,
  kind            text NOT NULL,
  grade           text NOT NULL,
  state           text NOT NULL CHECK (state IN ('open','acknowledged','closed')),
  opened_at       timestamptz NOT NULL,
  acknowledged_at timestamptz,
  acknowledged_by text,
  evidence_count  integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX incident_case_one_open ON incident_case (unit_id, kind) WHERE state <> 'closed';
