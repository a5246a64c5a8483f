-- A CRL of a large CA has tens of megabytes, and a busy one is followed by the next within seconds: only the newest two of
-- a CA keep their bytes. What was signed stays provable by its hash, against the signer's journal.

ALTER TABLE crl ALTER COLUMN der DROP NOT NULL;
ALTER TABLE crl ADD COLUMN tbs_sha256 bytea;
ALTER TABLE crl ADD CONSTRAINT crl_der_or_hash CHECK (der IS NOT NULL OR tbs_sha256 IS NOT NULL);
-- Not compressed: serials are random, and a slice is then read without the rest.
ALTER TABLE crl ALTER COLUMN der SET STORAGE EXTERNAL;
CREATE INDEX crl_whole ON crl (issuer_id, number) WHERE der IS NOT NULL;
