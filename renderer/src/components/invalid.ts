/** Leads to the first number of the screen that is none within its limits, so that nothing begins with another value than the one in sight. */
export function focusInvalid(): boolean {
  const field = document.querySelector<HTMLElement>('main input[type=number][aria-invalid]');
  field?.focus();
  return field !== null;
}
