"use strict";
// Tooltips for pointer and keyboard. The page says everything without this script, in its tables.
(() => {
  const tip = document.getElementById("tip");
  const live = document.getElementById("live");

  const read = (figure) => {
    const block = document.getElementById(figure.id + "-data");
    return block ? JSON.parse(block.textContent) : null;
  };
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > innerWidth ? x - 16 - box.width : x + 16;
    const top = Math.min(Math.max(8, y - box.height / 2), innerHeight - box.height - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
  };
  const hide = () => { tip.hidden = true; };
  const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

  const nearest = (places, wanted) => {
    let low = 0, high = places.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (places[middle] < wanted) low = middle; else high = middle;
    }
    return Math.abs(places[high] - wanted) < Math.abs(places[low] - wanted) ? high : low;
  };

  const bindChart = (figure, data) => {
    const canvas = figure.querySelector(".canvas");
    const cursor = canvas.querySelector(".cursor");
    let at = -1;
    const point = (index, y) => {
      at = Math.max(0, Math.min(data.at.length - 1, index));
      const box = canvas.getBoundingClientRect();
      const x = data.at[at] / 10000;
      cursor.setAttribute("d", `M${x * 1000} 0V400`);
      const lines = data.lines.filter((line) => at < line.mean.length).map((line) => {
        const peak = line.high.length && line.high[at] !== line.mean[at]
          ? ` (up to ${number(line.high[at])}${data.unit})` : "";
        return `${line.name}: ${number(line.mean[at])}${data.unit}${peak}`;
      });
      const text = [`${data.name}: ${data.label[at]}`, ...lines].join("\n");
      show(text, box.left + x * box.width, y ?? box.top + box.height / 2);
      return text;
    };
    const leave = () => { cursor.setAttribute("d", ""); hide(); };
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      point(nearest(data.at, share * 10000), event.clientY);
    });
    canvas.addEventListener("pointerleave", leave);
    canvas.addEventListener("blur", leave);
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: 20, PageDown: -20 };
      if (event.key === "Escape") leave();
      if (!(event.key in steps)) return;
      event.preventDefault();
      live.textContent = point(at + steps[event.key]);
    });
  };

  const bindField = (field, data) => {
    const picture = [...field.querySelectorAll("svg")];
    const name = /f(\d)(\d)$/.exec(field.className);
    const resource = Number(name[1]), moment = Number(name[2]);
    let at = -1;
    const owner = (index) => picture.find((svg) => {
      const start = Number(svg.dataset.start);
      return index >= start && index < start + Number(svg.dataset.count);
    });
    const clear = () => picture.forEach((svg) => {
      svg.querySelector(".cell-cursor").setAttribute("d", "");
    });
    const text = (index) => {
      const rows = data.resources.map((label, r) => {
        const known = data.moments.map((when, m) => [when, data.use[index][m][r]])
          .filter(([, percent]) => percent !== null)
          .map(([when, percent]) => `${number(percent)} % ${when}`);
        return `${label}: ${known.join(", ") || "none on this node"}`;
      });
      return [data.names[index], ...rows, data.notes[index]].filter(Boolean).join("\n");
    };
    const point = (index, place) => {
      const svg = owner(index);
      if (!svg) return "";
      at = index;
      clear();
      const local = index - Number(svg.dataset.start);
      const x = (local % data.columns) * 10, y = Math.floor(local / data.columns) * 10;
      svg.querySelector(".cell-cursor").setAttribute("d", `M${x} ${y + .5}h9v9h-9z`);
      const box = svg.getBoundingClientRect(), scale = box.width / (data.columns * 10);
      show(text(index), place?.x ?? box.left + x * scale, place?.y ?? box.top + y * scale);
      return text(index);
    };
    const leave = () => { clear(); hide(); };
    for (const svg of picture) {
      svg.addEventListener("pointermove", (event) => {
        const matrix = svg.getScreenCTM();
        const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
        const column = Math.floor(spot.x / 10), row = Math.floor(spot.y / 10);
        const local = row * data.columns + column;
        if (column < 0 || column >= data.columns || local < 0) return leave();
        if (local >= Number(svg.dataset.count)) return leave();
        return point(Number(svg.dataset.start) + local,
          { x: event.clientX, y: event.clientY });
      });
    }
    field.addEventListener("pointerleave", leave);
    field.addEventListener("blur", leave);
    field.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -data.columns,
        ArrowDown: data.columns };
      if (event.key === "Escape") leave();
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(data.names.length - 1, at + steps[event.key]));
      live.textContent = point(next);
    });
  };

  for (const figure of document.querySelectorAll("figure[id]")) {
    const data = read(figure);
    if (!data) continue;
    if (data.names) figure.querySelectorAll(".field").forEach((field) => bindField(field, data));
    else if (data.at.length) bindChart(figure, data);
  }
  document.addEventListener("pointermove", (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target.dataset.tip, event.clientX, event.clientY);
    else if (!event.target.closest?.(".canvas, .field")) hide();
  });
  addEventListener("scroll", hide, { passive: true });
})();
