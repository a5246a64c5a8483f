-- Answers and requests are signed DER: they do not compress, and trying took longer than all the rest of their row.
ALTER TABLE cmp_transaction
  ALTER COLUMN response SET STORAGE EXTERNAL,
  ALTER COLUMN request SET STORAGE EXTERNAL,
  -- Three changes a row, within minutes: they stay on its page.
  SET (fillfactor = 60);
