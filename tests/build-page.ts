import { buildPage, isPageStale } from '../main/page-build.ts';

/** Before all tests: those in a browser want the page as it is now. */
export function setup(): void {
  if (isPageStale()) buildPage();
}
