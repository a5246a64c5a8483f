-- How a CMP message without its protecting certificate is matched to one that was shown before.

-- senderKID of the opening message: later ones of the exchange need not carry the certificate again.
ALTER TABLE cmp_transaction ADD COLUMN sender_kid bytea;
-- A vendor's certificate and what came with it, so that its chain can be judged again; empty for one of ours. Kept as long
-- as the row: a vendor's certificate is in no other record.
ALTER TABLE cmp_transaction ADD COLUMN vendor_chain bytea[] NOT NULL DEFAULT '{}';
CREATE INDEX cmp_transaction_vendor ON cmp_transaction (sender_kid, created_at) WHERE vendor_chain <> '{}';
