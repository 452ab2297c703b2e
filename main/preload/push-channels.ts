/** Messages that the main process sends to a page's preload. */
export const pushChannels = {
  port: 'engine:port',
  engineLost: 'engine:lost',
  menuCommand: 'menu:command',
} as const;
