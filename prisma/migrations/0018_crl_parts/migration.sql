-- Deltas and shards stand beside a CA's complete CRLs, in a table of their own: whoever asks `crl` for the newest CRL of a CA
-- must never be given a part of it.
CREATE TABLE crl_part (
  issuer_id    smallint NOT NULL REFERENCES issuer(id),
  part         text NOT NULL CHECK (part ~ '^(delta|shard-[0-9]{1,3}-[0-9]{1,3})$'),
  -- Of the complete CRL that it repeats (RFC 5280 section 5.2.3).
  number       bigint NOT NULL,
  -- Of the complete CRL that a delta builds on.
  base_number  bigint,
  this_update  timestamptz NOT NULL,
  next_update  timestamptz NOT NULL,
  entry_count  integer NOT NULL,
  -- Of the content of revokedCertificates: an unchanged shard is not signed again before it is old.
  entries_sha256 bytea NOT NULL,
  tbs_sha256   bytea NOT NULL,
  sha256       bytea NOT NULL,
  -- The newest one's only.
  der          bytea,
  fence        bigint NOT NULL,
  published_at timestamptz,
  PRIMARY KEY (issuer_id, part, number),
  CHECK ((part = 'delta') = (base_number IS NOT NULL)),
  CHECK (base_number < number)
);
ALTER TABLE crl_part ALTER COLUMN der SET STORAGE EXTERNAL;
CREATE INDEX crl_part_newest ON crl_part (issuer_id, part) WHERE der IS NOT NULL;

CREATE FUNCTION crl_part_number_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM crl_part WHERE issuer_id = NEW.issuer_id AND part = NEW.part AND number >= NEW.number) THEN
    RAISE EXCEPTION 'number % of % does not rise', NEW.number, NEW.part USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER crl_part_number_rises BEFORE INSERT ON crl_part FOR EACH ROW EXECUTE FUNCTION crl_part_number_rises();

-- How far the parts of a CA have followed its complete CRLs, and the one that its next delta builds on.
CREATE TABLE crl_parts_state (
  issuer_id        smallint PRIMARY KEY REFERENCES issuer(id),
  done_number      bigint NOT NULL,
  base_number      bigint,
  base_this_update timestamptz,
  base_next_update timestamptz,
  base_der         bytea
);
ALTER TABLE crl_parts_state ALTER COLUMN base_der SET STORAGE EXTERNAL;

-- What was let go since a base must stand on the delta as removeFromCRL.
CREATE INDEX revoked_certificate_released ON revoked_certificate (issuer_id, changed_at) WHERE state = 'released';
