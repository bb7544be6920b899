/** Markdown on the page: harmless, whatever it says, and drawn anew only where it grows. */
import { act, render, screen } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { Markdown } from "./Markdown";

describe("Markdown", () => {
  it("keeps what it has drawn while more comes behind it", async () => {
    const { container, rerender } = render(<Markdown text={"One\n\nTwo"} isGrowing />);
    const [one, two] = container.querySelectorAll("p");
    await act(async () => rerender(<Markdown text={"One\n\nTwo and\n\nthree"} isGrowing />));
    const now = container.querySelectorAll("p");
    expect(now).toHaveLength(3);
    expect(now[0]).toBe(one);
    expect(now[1]).toBe(two);
    expect(two).toHaveTextContent("Two and");
  });

  it.each([
    "javascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "//example.com/x",
    "/api/cache/clear",
    " javascript:x",
  ])("makes no link to %s", (address) => {
    render(<Markdown text={`[go](<${address}>)`} />);
    expect(screen.queryByRole("link")).toBeNull();
    expect(screen.getByText("go")).toBeVisible();
  });

  it.each(["https://example.com/", "http://example.com/", "mailto:a@example.com"])(
    "links to %s, leaving no trace",
    (address) => {
      render(<Markdown text={`[go](${address})`} />);
      const link = screen.getByRole("link", { name: "go" });
      expect(link).toHaveAttribute("href", address);
      expect(link).toHaveAttribute("rel", "noopener noreferrer nofollow");
      expect(link).toHaveAttribute("target", "_blank");
    },
  );

  it("fetches no image and runs no HTML", () => {
    const { container } = render(
      <Markdown text={'![a](https://example.com/a.png)\n\n<img src="x"><b>b</b>\n\n<script>1</script>'} />,
    );
    expect(container.querySelector("img, b, script")).toBeNull();
    expect(container).toHaveTextContent("<script>1</script>");
  });

  it("finds a link's address wherever it is defined", () => {
    render(<Markdown text={"See [it][1].\n\n[1]: https://example.com/\n\nEnd."} />);
    expect(screen.getByRole("link", { name: "it" })).toHaveAttribute("href", "https://example.com/");
  });
});
