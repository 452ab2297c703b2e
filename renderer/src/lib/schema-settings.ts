import { z } from 'zod';

// Imported before every schema: without this zod tries whether it may compile code, which the page's policy forbids and reports as a violation.
z.config({ jitless: true });
