// The images that nodes boot: which are served, how large they are, and who has them.

import { ask, h, show, table } from "./dom.js";

/** How many digits of a digest are enough to tell two images apart. */
const DIGITS = 12;

/** Bytes for people. */
export function size(bytes) {
  if (bytes < 1e3) return `${bytes} bytes`;
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function row(image) {
  return [
    image.name ?? h("span", { class: "dim" }, "replaced"),
    image.recipe,
    h("code", { title: image.id }, image.id.slice(0, DIGITS)),
    image.kernel_version,
    size(image.kernel_bytes),
    size(image.initramfs_bytes),
    size(image.system_bytes),
    image.has_firmware ? "yes" : "no",
    String(image.nodes),
  ];
}

const HEADS = ["Name", "Recipe", "Id", "Linux", "Kernel", "Initramfs", "System", "Cardless", "Nodes"];

export function imagesView({ main, reading }) {
  const list = h("div", {});
  const read = reading(async () => {
    show(list, table(HEADS, (await ask("GET", "/v1/images")).map(row), "No image is served."));
  });
  const hint = [
    "A node gets ",
    h("code", {}, "default"),
    " unless another is wished for it or its group. One that was replaced is kept for nodes that were told of it. ",
    "Boards without a card can boot what is cardless.",
  ];
  show(
    main,
    h("h1", {}, "Images"),
    h("div", { class: "card" }, list, h("p", { class: "dim small" }, hint)),
  );
  return { read, refresh: read };
}
