//! The list that goes into a parcel to the maker: one page to print, which a depot reads by eye or by scanner.

use std::fmt::Write;

use qrcode::{EcLevel, QrCode, render::svg};
use tonic::Request;

use crate::{
    clock::civil_date,
    contract::v1,
    domain::parcel::Direction,
    service::{App, Fields, Reply, open, transact},
    store::{
        self, Error,
        shipments::{self, Item, Shipment},
    },
};

pub(super) async fn get(app: &App, request: Request<v1::GetPackingListRequest>) -> Reply<v1::GetPackingListResponse> {
    let (call, request) = open(request)?;
    let id = Fields::one(|fields| fields.uuid("shipment_id", &request.shipment_id))?;
    transact!(app.read(&call, id), |conn, id, actor| {
        let (parcel, items) = shipments::get(conn, actor, id).await?;
        if !actor.is_staff() {
            parcel.must_travel(Direction::Inbound)?;
        }
        Ok(v1::GetPackingListResponse { html: page(&parcel, &items)? })
    })
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A QR code of a return number, as an image in the page.
fn code(number: &str) -> store::Result<String> {
    let code = QrCode::with_error_correction_level(number, EcLevel::M).map_err(Error::broken)?;
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(90, 90).build();
    // Without the declaration that only a file of its own has.
    Ok(drawn.find("<svg").map_or(String::new(), |begin| drawn[begin..].to_owned()))
}

fn page(parcel: &Shipment, items: &[Item]) -> store::Result<String> {
    let carrier = escaped(&parcel.carrier);
    let number = escaped(parcel.tracking_number.as_deref().unwrap_or("—"));
    let (id, day, count) = (parcel.shipment_id, civil_date(parcel.opened_at), items.len());
    let party = escaped(&parcel.party().to_string());
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"zh-CN\">\n<head>\n<meta charset=\"utf-8\">\n<title>装箱单 Packing list {id}</title>\n<style>\n\
         @page {{ size: A4; margin: 15mm; }}\nbody {{ font-family: \"Noto Sans CJK SC\", \"Microsoft YaHei\", sans-serif; font-size: 11pt; }}\n\
         table {{ width: 100%; border-collapse: collapse; }}\nthead {{ display: table-header-group; }}\ntr {{ break-inside: avoid; }}\n\
         th, td {{ border: 1px solid #000; padding: 2mm; text-align: left; }}\ntd.code svg {{ width: 24mm; height: 24mm; }}\n\
         </style>\n</head>\n<body>\n<h1>装箱单 Packing list</h1>\n\
         <p>包裹 Parcel: {id}<br>寄件人 Sender: {party}<br>承运人 Carrier: {carrier}<br>运单号 Tracking number: {number}<br>\
         日期 Date: {day}<br>件数 Units: {count}</p>\n\
         <table>\n<thead><tr><th>#</th><th>返修号 Return number</th><th>序列号 Serial</th><th>型号 Model</th><th>二维码 Code</th></tr></thead>\n<tbody>\n"
    );
    for (at, item) in items.iter().enumerate() {
        let shown = |text: &Option<String>| escaped(text.as_deref().unwrap_or("—"));
        let (number, serial, model) = (shown(&item.return_number), shown(&item.serial), shown(&item.model));
        let code = item.return_number.as_deref().map(code).transpose()?.unwrap_or_default();
        let row = writeln!(
            html,
            "<tr><td>{}</td><td>{number}</td><td>{serial}</td><td>{model}</td><td class=\"code\">{code}</td></tr>",
            at + 1
        );
        row.map_err(Error::broken)?;
    }
    html.push_str("</tbody>\n</table>\n</body>\n</html>\n");
    Ok(html)
}
