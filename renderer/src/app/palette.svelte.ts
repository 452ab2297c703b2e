class PaletteState {
  open = $state(false);
}

export const palette = new PaletteState();
