/**
 * The page's one tooltip. Whatever has `data-tip` shows that text while the pointer rests on it or it has the focus; `aria-description` says the
 * same to who cannot see it. Positions are set through the CSSOM, which the content security policy allows.
 */

const distance = 6;

export function installTips(root: Document): () => void {
  const tip = root.createElement('div');
  tip.className = 'tip';
  tip.setAttribute('popover', 'manual');
  tip.setAttribute('aria-hidden', 'true');
  root.body.append(tip);
  let owner: Element | null = null;

  const hide = () => {
    owner = null;
    if (tip.matches(':popover-open')) tip.hidePopover();
  };
  const show = (element: HTMLElement) => {
    const text = element.dataset.tip;
    if (!text) return hide();
    owner = element;
    tip.textContent = text;
    if (!tip.matches(':popover-open')) tip.showPopover();
    const { left, right, top, bottom } = element.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    const x = Math.max(distance, Math.min((left + right - width) / 2, innerWidth - width - distance));
    const below = bottom + distance + height <= innerHeight;
    tip.style.left = `${x}px`;
    tip.style.top = `${below ? bottom + distance : Math.max(distance, top - distance - height)}px`;
  };
  const over = (event: Event) => {
    const target = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-tip]') : null;
    if (target) show(target);
    else if (owner) hide();
  };
  const focus = (event: FocusEvent) => {
    const target = event.target instanceof Element ? event.target.closest<HTMLElement>('[data-tip]') : null;
    if (target?.matches(':focus-visible')) show(target);
    else hide();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === 'Escape') hide();
  };
  root.addEventListener('pointerover', over, { passive: true });
  root.addEventListener('focusin', focus);
  root.addEventListener('focusout', hide);
  root.addEventListener('keydown', key);
  root.addEventListener('scroll', hide, { capture: true, passive: true });
  root.addEventListener('pointerdown', hide, { passive: true });
  return () => {
    tip.remove();
    root.removeEventListener('pointerover', over);
    root.removeEventListener('focusin', focus);
    root.removeEventListener('focusout', hide);
    root.removeEventListener('keydown', key);
    root.removeEventListener('scroll', hide, { capture: true });
    root.removeEventListener('pointerdown', hide);
  };
}

/** Attributes of an element with a tooltip, for those who see it and those who hear it. */
export function tipped(text: string | undefined): Record<string, string | undefined> {
  return { 'data-tip': text, 'aria-description': text };
}
