import { defineConfig } from 'prisma/config';

// The URL is only asked for by commands that touch a database; `generate`, `format` and `validate` do not.
export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  datasource: { url: process.env['DATABASE_URL'] ?? 'postgresql://localhost/femtopki' },
});
