import { expect, test } from 'vitest';
import { pasteableCommand } from '../../scripts/pasteable.ts';

test('a command names the history that it needs, from the repository, quoted', () => {
  const args = ['history', 'show', 'a b'];
  const root = '/r';
  expect(pasteableCommand(args, { root, home: '/r/.demo/home', ownHome: undefined })).toBe(
    "DBELL_HOME=.demo/home npx dbell history show 'a b'",
  );
  expect(pasteableCommand(args, { root, home: '/own home', ownHome: undefined })).toBe(
    "DBELL_HOME='/own home' npx dbell history show 'a b'",
  );
});

test('a history that is the person’s own needs no naming', () => {
  expect(pasteableCommand(['history', 'list'], { root: '/r', home: '/own', ownHome: '/own' })).toBe(
    'npx dbell history list',
  );
});
