//! What is written onto an event, and when nothing is.

use roomkeeper_crds::{
    access_scope::WriteBack,
    booking_record::{Booking, ProductState},
};

use super::{valid, world};
use crate::booking_record::write_back::wanted;

fn booking(resource: &str, state: ProductState) -> Booking {
    Booking {
        resource_id: resource.to_owned(),
        booking_id: Some(format!("id-{resource}")),
        state,
        reason: Some("a reason may name people".to_owned()),
        sent: None,
    }
}

#[test]
fn what_is_settled_is_written_once() {
    let mut product = world().product.unwrap();
    let bookings = [booking("b", ProductState::Rejected), booking("a", ProductState::Accepted)];
    let mut record = valid();
    assert_eq!(wanted(&record, Some(&product), &bookings), None, "nobody asked for it");
    product.write_back = WriteBack::Property;
    assert_eq!(wanted(&record, None, &bookings), None);
    let first = wanted(&record, Some(&product), &bookings).unwrap();
    assert_eq!(
        first.note.value().unwrap(),
        r#"{"version":1,"bookings":[{"resourceId":"a","bookingId":"id-a","state":"Accepted"},{"resourceId":"b","bookingId":"id-b","state":"Rejected"}]}"#
    );
    record.status.written_back = Some(first.hash.clone());
    let other_way_round = [bookings[1].clone(), bookings[0].clone()];
    assert_eq!(wanted(&record, Some(&product), &other_way_round), None, "the event has it");
    let pending = [bookings[1].clone(), booking("b", ProductState::Pending)];
    assert_eq!(
        wanted(&record, Some(&product), &pending),
        None,
        "an edit of somebody's event is worth waiting for"
    );
    let emptied = wanted(&record, Some(&product), &[]).unwrap();
    assert_ne!(emptied.hash, first.hash);
    record.status.written_back = None;
    assert_eq!(wanted(&record, Some(&product), &[]), None, "nothing was ever booked");
}
