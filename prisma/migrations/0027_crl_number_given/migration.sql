-- A CRL number is given out, and that committed, before the signer is asked. It never signs a number twice: a worker that was killed
-- between signing and recording, or whose answer came too late, would have asked for the same one again for ever.
ALTER TABLE issuer ADD COLUMN crl_number_given bigint NOT NULL DEFAULT 0;
