import type { MenuItemConstructorOptions } from 'electron';
import type { MenuCommand } from '../preload/channels.ts';
import { strings } from './strings.ts';

export interface MenuActions {
  /** Carried out by the page. */
  command(command: MenuCommand): void;
  openDocumentation(): void;
}

/** The menu as data. macOS wants an application menu in front and the settings in it. */
export function menuTemplate(
  actions: MenuActions,
  platform: NodeJS.Platform,
  isPackaged: boolean,
): MenuItemConstructorOptions[] {
  const item = (label: string, command: MenuCommand, accelerator?: string): MenuItemConstructorOptions => ({
    label,
    ...(accelerator === undefined ? {} : { accelerator }),
    click: () => actions.command(command),
  });
  const isMac = platform === 'darwin';
  const { menu } = strings;
  const settings = item(menu.settings, 'settings', 'CmdOrCtrl+,');
  const separator: MenuItemConstructorOptions = { type: 'separator' };
  return [
    ...(isMac
      ? [
          {
            role: 'appMenu' as const,
            submenu: [
              { role: 'about' as const },
              separator,
              settings,
              separator,
              { role: 'services' as const },
              separator,
              { role: 'hide' as const },
              { role: 'hideOthers' as const },
              { role: 'unhide' as const },
              separator,
              { role: 'quit' as const },
            ],
          },
        ]
      : []),
    {
      label: menu.file,
      submenu: [
        item(menu.newRun, 'new-run', 'CmdOrCtrl+N'),
        item(menu.undoDelete, 'undo-delete'),
        ...(isMac ? [] : [separator, settings]),
        separator,
        isMac ? { role: 'close' } : { role: 'quit' },
      ],
    },
    { role: 'editMenu' },
    {
      label: menu.view,
      submenu: [
        item(menu.runs, 'runs', 'CmdOrCtrl+Shift+2'),
        item(menu.playground, 'playground', 'CmdOrCtrl+Shift+3'),
        item(menu.benchmark, 'benchmark'),
        item(menu.commandPalette, 'command-palette', 'CmdOrCtrl+K'),
        separator,
        { role: 'resetZoom' },
        { role: 'zoomIn' },
        { role: 'zoomOut' },
        { role: 'togglefullscreen' },
        ...(isPackaged ? [] : [separator, { role: 'reload' as const }, { role: 'toggleDevTools' as const }]),
      ],
    },
    {
      label: menu.run,
      submenu: [
        item(menu.pause, 'pause-job'),
        item(menu.continue, 'continue-job'),
        item(menu.stop, 'stop-job', 'CmdOrCtrl+.'),
      ],
    },
    { role: 'windowMenu' },
    {
      role: 'help',
      submenu: [{ label: menu.documentation, click: () => actions.openDocumentation() }],
    },
  ];
}
