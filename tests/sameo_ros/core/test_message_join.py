from sameo_ros.core.message_join import MessageJoin


def joined(*, images=(), boxes=(), tolerance_ns=0):
    join = MessageJoin()
    join.tolerance_ns = tolerance_ns
    for stamp_ns in images:
        join.add_image(stamp_ns, f"image {stamp_ns}")
    for stamp_ns in boxes:
        join.add_boxes(stamp_ns, f"boxes {stamp_ns}")
    return join


def test_masks_find_the_image_and_the_boxes_of_their_stamp():
    join = joined(images=(1, 2), boxes=(2, 3))
    assert [join.find(stamp_ns) for stamp_ns in (1, 2, 3)] == [None, ("image 2", "boxes 2"), None]


def test_boxes_may_be_as_far_off_as_the_node_allows_and_the_nearest_are_taken():
    join = joined(images=(10, 20), boxes=(5, 13), tolerance_ns=3)
    assert join.find(10) == ("image 10", "boxes 13")
    assert join.find(20) is None


def test_only_the_newest_messages_are_kept():
    join = joined(images=range(31), boxes=range(31))
    assert join.find(0) is None
    assert join.find(30) == ("image 30", "boxes 30")


def test_what_came_and_what_found_no_partner_is_told():
    join = joined(images=(1, 2), boxes=(2, 3, 4))
    for stamp_ns in (1, 5, 6):
        join.find(stamp_ns)
    # Image 1 has no boxes; 5 and 6 have neither.
    assert join.describe() == (
        "2 images, 3 detection messages and 3 messages of masks came; 2 of the masks found no "
        "image of their stamp; 3 of the masks found no boxes of their stamp"
    )
    assert joined(images=(1,)).describe().endswith("and 0 messages of masks came")
